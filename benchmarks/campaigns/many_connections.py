"""Many connections at once: every answer is right, and the server's memory stays as it is.

python -m benchmarks.campaigns.many_connections --connections 500 --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import servers
from volumekit import Volume

SIDE = 64
SPARE = 32 << 20
"""By how many bytes memory may grow after the first third of the time."""


@dataclass
class Result:
    """What was seen; ``failures`` should be empty.

    Attributes
    ----------
    requests : int
        Right answers.
    failures : list of str
        Wrong answers, broken connections, growth.
    memory : list of int
        Resident bytes of the server, from time to time; empty where the system does not tell.
    """

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """Bytes by which the peak of the last two thirds lies above that of the first."""
        cut = max(1, len(self.memory) // 3)
        early, late = self.memory[:cut], self.memory[cut:]
        return max(late) - max(early) if late else 0


def run(connections: int, seconds: float) -> Result:
    """Ask a server in another process for raw and for transcoded chunks.

    Parameters
    ----------
    connections : int
        All at once, each with one request after the other.
    seconds : float
        How long.
    """
    result = Result()
    with tempfile.TemporaryDirectory(prefix="volumekit-connections-") as folder:
        array = np.random.default_rng(0).integers(1, 250, (2 * SIDE, 2 * SIDE, 2 * SIDE), np.uint8)
        how = {"chunk_size": (SIDE,) * 3, "progress": False}
        Volume.from_numpy(array, Path(folder, "raw"), compress=False, **how)
        Volume.from_numpy(array, Path(folder, "made.zarr"), **how)
        place = servers.volumekit(Path(folder, "raw"), Path(folder, "made.zarr"))
        asyncio.run(_all(place, _expected(array), connections, seconds, result))
        servers.end(place)
    if result.growth > SPARE:
        result.failures.append(f"memory grew by {result.growth / 2**20:.0f} MiB")
    return result


def _expected(array: np.ndarray) -> list[tuple[str, bytes]]:
    found = []
    for cell in np.ndindex(2, 2, 2):
        box = tuple(slice(n * SIDE, (n + 1) * SIDE) for n in cell)
        name = "_".join(f"{part.start}-{part.stop}" for part in box)
        data = array[box].tobytes(order="F")
        found += [(f"/raw/1_1_1/{name}", data)] * 3 + [(f"/made/0/{name}", data)]
    return found


async def _all(place: str, expected: list[tuple[str, bytes]], connections: int, seconds: float, result: Result) -> None:
    end = time.monotonic() + seconds
    watching = asyncio.create_task(_watch(servers.PROCESSES[place].pid, result))
    await asyncio.gather(*(_client(place, expected, number, end, result) for number in range(connections)))
    watching.cancel()


async def _client(place: str, expected: list[tuple[str, bytes]], number: int, end: float, result: Result) -> None:
    host, _, port = place.partition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < end:
            path, data = expected[number % len(expected)]
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            right = head.startswith(b"HTTP/1.1 200 ") and b"content-length: %d\r\n" % len(data) in head
            if not right or await reader.readexactly(len(data)) != data:
                result.failures.append(f"{path}: {head[:100]!r}")
                break
            result.requests += 1
            number += 1
        writer.close()
        await writer.wait_closed()
    except (OSError, EOFError) as error:
        result.failures.append(f"connection {number}: {type(error).__name__}: {error}")


async def _watch(process: int, result: Result) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    while Path("/proc/self/statm").exists():
        result.memory.append(int(Path(f"/proc/{process}/statm").read_text().split()[1]) * page)
        await asyncio.sleep(0.1)


def main() -> int:
    """Run a campaign and print what was seen; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    result = run(options.connections, options.seconds)
    peak = max(result.memory, default=0)
    print(f"{result.requests} right answers, {len(result.failures)} failures", *result.failures[:10], sep="\n")
    print(f"memory: at most {peak / 2**20:.0f} MiB, {result.growth / 2**20:+.0f} MiB after the first third")
    return int(bool(result.failures))


if __name__ == "__main__":
    raise SystemExit(main())
