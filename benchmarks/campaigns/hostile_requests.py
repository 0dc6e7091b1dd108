"""Hostile requests: a server tells nothing that lies outside its sources, never fails, and goes on answering.

python -m benchmarks.campaigns.hostile_requests --count 10000 --seed 1
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import random
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from volumekit import Volume, serve

SECRET = b"what lies in another folder"
TELLTALES = (SECRET, b"root:x:", b"Traceback", b'File "/')
SECONDS = 20.0
"""Longest time that one answer may take."""

_METHODS = (
    ["GET"] * 12 + ["HEAD"] * 3 + ["OPTIONS", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 50]
)
_WORDS = [
    "brain", "floats", "brain.zarr", "floats.zarr", "info", "provenance", "1_1_1", "0-16_0-16_0-16", "16-32_0-16_0-16",
    "zarr.json", "0", "c", "0/c/0/0/0", "-", "-/thumbnail/brain.png", "-/view/brain", "-/action", "~token", "mesh",
    "..", "../..", "secret/file", "secret", "link", "linked/file", "up/secret/file",
    "etc/passwd", "absolute/etc/passwd",
    "packed", ".hidden", ".", "", "%2e%2e", "%2E%2e%2f", "..%2f..%2f", "%2fetc%2fpasswd", "%252e%252e", "%c0%ae%c0%ae",
    "..%5c", "..\\", "%00", "info%00", "%ff%fe", "%", "%zz", "....//", "..;", "~", "x" * 300, "a/" * 600,
    "é", "\N{SNOWMAN}",
    "0-99999999999999999999_0-1_0-1", "-1-0_0-1_0-1", "0-18446744073709551616_0-16_0-16", "9" * 400,
    "c/999999999999999999/0/0", "0/c/-1/0/0", "999999/c/0/0/0", "zarr.json?x=1", "info?../../secret/file", "#", "*",
]  # fmt: skip
_GOOD = [
    "/", "/brain/info", "/brain/1_1_1/0-16_0-16_0-16", "/brain/1_1_1/32-40_32-33_16-21", "/floats/info",
    "/brain/provenance",
    "/floats/0/0-16_0-16_0-16", "/brain.zarr/zarr.json", "/brain.zarr/0/c/0/0/0", "/floats.zarr/0/c/1/2/2",
    "/floats.zarr/0/zarr.json", "/-/thumbnail/brain.png",
]  # fmt: skip
_HEADERS = {
    "Range": ["bytes=0-", "bytes=-1", "bytes=5-2", "bytes=0-0,2-3", "bytes=99999999999999999999-", "bytes=--1", "x=0-1",
              "bytes=0-18446744073709551616", "bytes=\xb2-\xb3", "bytes=" + "0-1," * 900, "bytes=-0", ""],
    "If-None-Match": ["*", '"x"', "W/*", '"' * 900, ",,,,", "\xff", ""],
    "If-Range": ["x", '"x"', ""],
    "Accept-Encoding": ["gzip", "br;q=0, gzip;q=x", "*", "gzip;q=0", "," * 900, "zstd, br, gzip"],
    "Authorization": ["Bearer x", "Bearer \xff", "Basic Og==", "Bearer " + "x" * 3000, ""],
    "Origin": ["null", "https://evil.example", "\x01", "http://127.0.0.1"],
    "Access-Control-Request-Method": ["GET", "PUT", "\xff"],
    "Host": ["localhost", "127.0.0.1:1", "evil.example", "", "[::1", "a:b:c", "localhost:99999999999999999999"],
    "X-Forwarded-Host": ["evil.example"], "X-Original-URL": ["/secret/file"],
    "Content-Length": ["5", "-1", "x", "9" * 30],
    "Transfer-Encoding": ["chunked", "gzip, chunked", "x"], "Expect": ["100-continue", "x"],
    "Upgrade": ["websocket", "h2c"],
    "Connection": ["keep-alive, Upgrade", "x"], "Cookie": ["x" * 9000], "X" * 200: ["y" * 200], "Accept": ["*/*"],
}  # fmt: skip


@dataclass
class Result:
    """What became of the requests; ``failures`` should be empty.

    Attributes
    ----------
    answers : Counter
        How many of each status; "none" where the connection was ended without one.
    failures : list of str
        What was wrong, with the number of the request.
    """

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)


def request(rng: random.Random) -> bytes:
    """Return a request, sensible in parts only; damaged here and there."""
    path = "/" + "/".join(rng.choice(_WORDS) for _ in range(rng.choice((1, 2, 2, 3, 3, 3, 4, 6))))
    if rng.random() < 0.35:
        path = rng.choice(_GOOD)
    elif rng.random() < 0.05:
        path = rng.choice(("", "http://evil.example", "//", "?", "file://", "*")) + path
    lines = [f"{rng.choice(_METHODS)} {path} HTTP/{rng.choice(('1.1', '1.1', '1.1', '1.0', '2.0', '0.9', '1.1x'))}"]
    chosen = rng.sample(sorted(_HEADERS), rng.choice((0, 1, 1, 2, 3, 5)))
    if "Host" not in chosen and rng.random() < 0.95:
        lines.append("Host: localhost")
    lines += [f"{name}: {rng.choice(_HEADERS[name])}" for name in chosen]
    if "Connection" not in chosen:
        lines.append("Connection: close")
    text = "\r\n".join(lines).encode("utf-8" if rng.random() < 0.5 else "latin-1", "replace") + b"\r\n\r\n"
    if rng.random() < 0.1:
        text += b"5\r\nhello\r\n0\r\n\r\n"
    return _damaged(text, rng) if rng.random() < 0.15 else text


def _damaged(text: bytes, rng: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = rng.randbytes(rng.randint(1, 40))
            case 2:
                data[at : at + 2] = rng.choice((b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"\xff"))
            case 3:
                data[at:at] = b"A" * rng.choice((100, 5000, 70_000))
            case _:
                data += text
    return bytes(data)


def place_of(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


def ask(place: tuple[str, int], data: bytes) -> bytes:
    """Send bytes; return what comes back until the connection ends, or is told that nothing follows."""
    told = bytearray()
    with socket.create_connection(place, timeout=SECONDS) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        connection.settimeout(SECONDS if b"Connection: close\r\n" in data and data.endswith(b"\r\n\r\n") else 0.05)
        try:
            while part := connection.recv(1 << 16):
                told += part
        except TimeoutError:
            connection.settimeout(SECONDS)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(1 << 16):
                told += part
    return bytes(told)


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[str]:
    """Serve datasets beside a secret, with links to it inside; yield the server's URL."""
    array = np.random.default_rng(0).integers(1, 250, (40, 33, 21), np.uint8)
    Volume.from_numpy(array, folder / "brain", chunk_size=(16, 16, 16), compress=False, progress=False)
    Volume.from_numpy(array.astype(np.float32), folder / "floats.zarr", chunk_size=(16, 16, 16), progress=False)
    secret, brain = folder / "secret", folder / "brain"
    secret.mkdir()
    (secret / "file").write_bytes(SECRET)
    (brain / ".hidden").write_bytes(SECRET)
    for link, where in {"link": secret / "file", "linked": secret, "up": "..", "absolute": "/"}.items():
        (brain / link).symlink_to(where)
        (folder / "floats.zarr" / link).symlink_to(where)
    with serve(brain, folder / "floats.zarr", cors=["https://viewer.example"]) as server:
        yield server.url


def answers_still(place: tuple[str, int]) -> bool:
    """Tell whether an ordinary request is answered."""
    connection = http.client.HTTPConnection(*place, timeout=SECONDS)
    try:
        connection.request("GET", "/brain/1_1_1/0-16_0-16_0-16")
        reply = connection.getresponse()
        return reply.status == 200 and len(reply.read()) == 16**3
    finally:
        connection.close()


def run(count: int, seed: int) -> Result:
    """Ask a server of this process.

    Parameters
    ----------
    count : int
        Requests.
    seed : int
        Seed; the same one makes the same requests.
    """
    result, rng = Result(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="volumekit-hostile-") as folder, attacked(Path(folder)) as url:
        place = place_of(url)
        for number in range(count):
            _try(place, request(rng), number, folder.encode(), result)
            if number % 250 == 249 and not answers_still(place):
                result.failures.append(f"after request {number}: the server answers no more")
        if not answers_still(place):
            result.failures.append("in the end: the server answers no more")
    return result


def _try(place: tuple[str, int], data: bytes, number: int, folder: bytes, result: Result) -> None:
    try:
        told = ask(place, data)
    except OSError as error:
        result.failures.append(f"request {number}: {type(error).__name__}: {error}: {data[:200]!r}")
        return
    status = told.split(b" ", 2)[1][:3].decode("latin-1") if told.startswith(b"HTTP/") else "none"
    result.answers[status] += 1
    if any(word in told for word in (*TELLTALES, folder)) or status.startswith("5"):
        result.failures.append(f"request {number}: {status}: {data[:200]!r}: {told[:200]!r}")


def main() -> int:
    """Run a campaign and print what was answered; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = run(options.count, options.seed)
    for status, count in sorted(result.answers.items()):
        print(f"{status:>6} {count:7}")
    for failure in result.failures[:20]:
        print(failure)
    print(f"{len(result.failures)} of {options.count} failed")
    return int(bool(result.failures))


if __name__ == "__main__":
    raise SystemExit(main())
