"""Serving: chunks as they are stored beside servers that do nothing else, and chunks decoded on the way."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.bare_asgi import CSEG, transcoder
from benchmarks.bars import at_most, at_most_beyond
from benchmarks.data import CUTOUT, RAW, Data
from benchmarks.harness import Case, Contest, Sample
from benchmarks.ours import OURS
from volumekit import Volume

BARE_ASGI, BARE_CODECS, NGINX, CODECS = "bare ASGI", "bare + codecs", "nginx", "its codecs"
_SECONDS = 2


def cases() -> Iterator[Case]:
    """Yield a case per way of serving."""
    yield Case("serve raw 64^3", serve_one)
    yield Case("serve raw 64^3, two workers", serve_two)
    for labels, name in ((True, "serve zarr labels as cseg 64^3"), (False, "serve zarr image as raw 64^3")):
        yield Case(name, functools.partial(transcode, labels, 1))
        yield Case(f"{name}, 16 at once", functools.partial(transcode, labels, servers.CONNECTIONS))


def serve_one(data: Data) -> Contest:
    """Send files from one process."""
    source = data.dataset(RAW)
    known = _having("wrk", BARE_ASGI, lambda: servers.bare(source.parent), data)
    places = {OURS: servers.volumekit(source), **known}
    return _served(source, places, 1 / 0.7, BARE_ASGI, data)


def serve_two(data: Data) -> Contest:
    """Send files from two processes."""
    source = data.dataset(RAW)
    known = _having("nginx", NGINX, lambda: servers.nginx(source.parent), data)
    places = {OURS: servers.volumekit(source, workers=2), **known}
    return _served(source, places, 1 / 0.35, NGINX, data)


def _having(needed: str, name: str, start: Callable[[], str], data: Data) -> dict[str, str | None]:
    """Return a server, None unless the programs of the system that it takes are there."""
    there = all(servers.tool(program) for program in {needed, "wrk"} if _seconds(data) or program != "wrk")
    return {name: start() if there else None}


def _seconds(data: Data) -> int:
    return _SECONDS if data.extent.rounds > 1 else 0


def _served(source: Path, places: dict[str, str | None], ratio: float, peer: str, data: Data) -> Contest:
    files = [path for path in sorted(source.rglob("*_*")) if path.is_file()]
    paths = ["/" + path.relative_to(source.parent).as_posix() for path in files]

    def contestant(place: str) -> Sample:
        return lambda _: servers.seconds_per_request(place, paths, _seconds(data))

    def check() -> None:
        for name, place in places.items():
            for path, file in zip(paths[:3], files, strict=False):
                assert place is None or servers.fetch(place, path) == file.read_bytes(), f"{name} sent something else"

    contestants = {name: None if place is None else contestant(place) for name, place in places.items()}
    return Contest(contestants, check, (at_most(ratio, peer),))


def transcode(labels: bool, connections: int, data: Data) -> Contest:
    """Decode chunks of zarr and encode them again.

    Through the server; through a bare application that does nothing else, in one process as well; by the codecs alone,
    called one after the other in this process; and files of the same bytes sent as they are, which is what the
    requests cost. The bar is on what is beyond that, on either side.
    """
    array = data.labels if labels else data.image
    array = array[: 2 * CUTOUT, : 2 * CUTOUT, : 2 * CUTOUT]
    source, plain = data.empty() / "made.zarr", data.empty()
    kind = "segmentation" if labels else "image"
    volume = Volume.from_numpy(array, source, chunk_size=(CUTOUT,) * 3, layer_type=kind, progress=False)
    cells = list(itertools.product(*(range(n // CUTOUT) for n in array.shape)))
    boxes = ["_".join(f"{n * CUTOUT}-{(n + 1) * CUTOUT}" for n in cell) for cell in cells]
    files = [source / volume.key / "c" / "/".join(map(str, cell[::-1])) for cell in cells]
    made = (CSEG if labels else "raw", array.dtype.name, CUTOUT)
    transcoded = transcoder(*made)
    for box, file in zip(boxes, files, strict=True):
        (plain / box).write_bytes(transcoded(file.read_bytes()))
    asked = {
        OURS: (servers.volumekit(source), [f"/made/{volume.key}/{box}" for box in boxes]),
        BARE_CODECS: (servers.bare(source, " ".join(map(str, made))), _below(source, files)),
        BARE_ASGI: (servers.bare(plain), _below(plain, [plain / box for box in boxes])),
    }

    def contestant(name: str) -> Sample:
        return lambda _: servers.seconds_per_request(*asked[name], _seconds(data), connections)

    def timed_codecs(_: int) -> float:
        start = time.perf_counter()
        for file in files:
            transcoded(file.read_bytes())
        return (time.perf_counter() - start) / len(files)

    def check() -> None:
        for name, (place, paths) in asked.items():
            for path, box in zip(paths, boxes, strict=True):
                assert servers.fetch(place, path) == (plain / box).read_bytes(), f"{name} sent something else"

    contestants = {**{name: contestant(name) for name in asked}, CODECS: timed_codecs}
    return Contest(contestants, check, (at_most_beyond(1.3, BARE_CODECS, BARE_ASGI),))


def _below(folder: Path, files: Iterable[Path]) -> list[str]:
    return ["/" + file.relative_to(folder).as_posix() for file in files]
