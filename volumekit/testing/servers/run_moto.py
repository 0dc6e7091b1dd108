"""Run moto's S3 on a free loopback port until standard input ends: ``python -m volumekit.testing.servers.run_moto``."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Serve; the address is the first line printed."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    for name in ("put_object", "delete_object"):
        setattr(S3Response, name, _one_at_a_time(getattr(S3Response, name)))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)  # noqa: T201
    sys.stdin.read()
    server.stop()


_lock = threading.RLock()


def _one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let nothing be stored between moto's looking at a condition and its storing, as S3 does not."""

    @functools.wraps(method)
    def locked(*args: Any, **options: Any) -> Any:
        with _lock:
            return method(*args, **options)

    return locked


if __name__ == "__main__":
    main()
