"""Serving: chunks as they are stored beside servers that do nothing else, and chunks decoded on the way."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from benchmarks import servers
from benchmarks.bars import at_most
from benchmarks.data import CUTOUT, RAW, Data
from benchmarks.harness import Case, Contest, Sample
from benchmarks.ours import OURS
from volumekit import Volume
from volumekit.codecs import get_codec
from volumekit.model.level import CodecSpec

BARE_ASGI, NGINX, CODECS = "bare ASGI", "nginx", "its codecs"
_SECONDS = 2


def cases() -> Iterator[Case]:
    """Yield a case per way of serving."""
    yield Case("serve raw 64^3", serve_one)
    yield Case("serve raw 64^3, two workers", serve_two)
    yield Case("serve zarr labels as cseg 64^3", functools.partial(transcode, True))
    yield Case("serve zarr image as raw 64^3", functools.partial(transcode, False))


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


def transcode(labels: bool, data: Data) -> Contest:
    """Decode chunks of zarr and encode them again: through the server, and with nothing but the codecs."""
    array = data.labels if labels else data.image
    array = array[: 2 * CUTOUT, : 2 * CUTOUT, : 2 * CUTOUT]
    source = data.empty() / "made.zarr"
    kind = "segmentation" if labels else "image"
    volume = Volume.from_numpy(array, source, chunk_size=(CUTOUT,) * 3, layer_type=kind, progress=False)
    place, key = servers.volumekit(source), volume.key
    cells = list(itertools.product(*(range(n // CUTOUT) for n in array.shape)))
    paths = [f"/made/{key}/" + "_".join(f"{n * CUTOUT}-{(n + 1) * CUTOUT}" for n in cell) for cell in cells]
    files = [source / key / "c" / "/".join(map(str, cell[::-1])) for cell in cells]
    encode = _encoder(labels)

    def with_codecs(number: int) -> bytes:
        plain = Zstd().decode(files[number].read_bytes())
        return encode(np.frombuffer(plain, array.dtype).reshape((*(CUTOUT,) * 3, 1), order="F"))

    def timed_codecs(_: int) -> float:
        start = time.perf_counter()
        for number in range(len(files)):
            with_codecs(number)
        return (time.perf_counter() - start) / len(files)

    def check() -> None:
        for number, path in enumerate(paths):
            assert servers.fetch(place, path) == with_codecs(number), f"{path} is something else"

    def served(_: int) -> float:
        return servers.seconds_per_request(place, paths, _seconds(data), connections=1)

    return Contest({OURS: served, CODECS: timed_codecs}, check, (at_most(1.3, CODECS),))


def _encoder(labels: bool) -> Callable[[NDArray[Any]], bytes]:
    if not labels:
        return lambda voxels: voxels.tobytes(order="F")
    return get_codec(CodecSpec("compressed_segmentation", {"compressed_segmentation_block_size": (8, 8, 8)})).encode
