"""Servers in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from typing import Any, Self

_RUN = "volumekit.testing.servers.run_"
_PATIENCE = 10.0


class BucketServer:
    """An object store in a process of its own, on a loopback port; a context manager.

    Parameters
    ----------
    kind : {"s3", "moto", "gcs"}
        Which program.
    *arguments : str
        Its command line.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:port``, once it runs.
    """

    url: str

    def __init__(self, kind: str, *arguments: str) -> None:
        self._kind, self._command = kind, [sys.executable, "-m", _RUN + kind, *arguments]

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._process.wait()
            self._log.seek(0)
            told = self._log.read().decode(errors="replace").strip()
            self.__exit__()
            raise RuntimeError(f"the server did not start: {' '.join(self._command)}\n{told}")
        return self

    def __exit__(self, *_: object) -> None:
        """End the process: it goes on only as long as its standard input is open."""
        self._process.communicate()
        self._log.close()

    def kill(self) -> None:
        """End the process at once, in the middle of whatever it does."""
        self._process.kill()
        self._process.wait()

    def make_bucket(self, name: str) -> str:
        """Make an empty bucket; return the URL of it, without credentials ``s3://…`` or ``gs://…``."""
        if self._kind == "gcs":
            self._ask("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
            return f"gs://{self.url}/{name}"
        self._ask("PUT", f"/{name}")
        return f"s3://{self.url}/{name}"

    def _ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:
            body: Any = reply.read()
        return bytes(body)


class FastS3(BucketServer):
    """A quick S3 look-alike for benchmarks: whole and partial reads, conditional writes, deletion, listing."""

    def set_latency(self, seconds: float) -> None:
        """Let every answer from now on wait for so long; many wait side by side."""
        self._ask("POST", f"/-/latency?{seconds}")


def fast_s3(*, latency: float = 0.0) -> FastS3:
    """Return a quick S3 look-alike that keeps everything in memory; any credentials will do.

    Parameters
    ----------
    latency : float
        Seconds that every answer waits.
    """
    return FastS3("s3", str(latency))


def moto_s3() -> BucketServer:
    """Return moto's S3: slow, and right about ranges and conditional writes. Any credentials will do."""
    return BucketServer("moto")


def fake_gcs() -> BucketServer:
    """Return a Google Storage look-alike; it does not honour conditional writes, and wants no credentials."""
    return BucketServer("gcs")
