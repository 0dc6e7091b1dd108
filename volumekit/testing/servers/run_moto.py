"""Run moto's S3 on a free loopback port until standard input ends: ``python -m volumekit.testing.servers.run_moto``."""

from __future__ import annotations

import sys


def main() -> None:
    """Serve; the address is the first line printed."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)  # noqa: T201
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
