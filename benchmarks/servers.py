"""Web servers in processes of their own, and asking them for many things quickly."""

from __future__ import annotations

import atexit
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

CONNECTIONS = 16
_SERVE = "from volumekit.cli.main import main; main()"
_SCRIPT = """
local paths, at = {{ {} }}, 0
request = function() at = at + 1; return wrk.format("GET", paths[at % #paths + 1]) end
"""
_NGINX = """
{user} worker_processes 2; daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 2048; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


PROCESSES: dict[str, subprocess.Popen[bytes]] = {}
"""Servers that were started, by host and port."""


def tool(name: str) -> str | None:
    """Return where a program of the system is; None if it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")


def volumekit(*sources: Path, workers: int = 1) -> str:
    """Return the URL of ``volumekit serve``."""
    port = _free_port()
    command = [sys.executable, "-c", _SERVE, "serve", *map(str, sources), "--port", str(port)]
    return _started([*command, "--workers", str(workers)], port)


def bare(root: Path, codecs: str | None = None) -> str:
    """Return the URL of uvicorn, as it is by itself, with an application that does nothing but read files.

    ``codecs`` (encoding, data type, side): and transcodes them.
    """
    port, made = _free_port(), ["app"] if codecs is None else ["transcoding", "--factory"]
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.bare_asgi:{made[0]}", *made[1:], "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    return _started(command, port, BARE_ROOT=str(root), BARE_CODECS=codecs or "")


def nginx(root: Path) -> str:
    """Return the URL of nginx with two workers."""
    port, folder = _free_port(), tempfile.mkdtemp(prefix="volumekit-nginx-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    conf = Path(folder, "conf")
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(_NGINX.format(user=user, folder=folder, port=port, root=root))
    return _started([tool("nginx") or "nginx", "-p", folder, "-e", f"{folder}/errors", "-c", str(conf)], port)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _started(command: Sequence[str], port: int, **environment: str) -> str:
    """Start a server; it ends with this process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    atexit.register(_end, process)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            PROCESSES[f"127.0.0.1:{port}"] = process
            return f"127.0.0.1:{port}"
    raise RuntimeError(f"{' '.join(command)} did not start")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


def end(place: str) -> None:
    """End a server that was started."""
    _end(PROCESSES.pop(place))


def fetch(place: str, path: str, connection: http.client.HTTPConnection | None = None) -> bytes:
    """Return what is at a path."""
    used = connection or http.client.HTTPConnection(place, timeout=60)
    used.request("GET", path)
    reply = used.getresponse()
    body = reply.read()
    if reply.status != 200:
        raise AssertionError(f"{path}: status {reply.status}")
    if connection is None:
        used.close()
    return body


def seconds_per_request(place: str, paths: Sequence[str], seconds: int, connections: int = CONNECTIONS) -> float:
    """Ask for one path after the other, with ``wrk``.

    Parameters
    ----------
    place : str
        Host and port.
    paths : sequence of str
        What to ask for, again and again.
    seconds : int
        How long; 0: ask once for each, one after the other, without ``wrk``.
    connections : int
        Requests under way at once.
    """
    if not seconds or tool("wrk") is None:
        return one_by_one(place, paths)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.format(", ".join(f'"{path}"' for path in paths)))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, f"http://{place}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "errors" in told or "Non-2xx" in told:
        raise AssertionError(f"requests failed:\n{told}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert rate is not None, told
    return 1 / float(rate[1])


def one_by_one(place: str, paths: Sequence[str]) -> float:
    """Ask for one path after the other over one connection; return seconds per request."""
    connection = http.client.HTTPConnection(place, timeout=60)
    start = time.perf_counter()
    for path in paths:
        fetch(place, path, connection)
    taken = time.perf_counter() - start
    connection.close()
    return taken / len(paths)
