"""Reading from S3: a quick look-alike in a process of its own, beside this one and as if 20 ms away."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.bars import Bar, at_most, faster
from benchmarks.data import RAW, Data, whole
from benchmarks.harness import Case, Contest, Sample, timed
from benchmarks.ours import CLOUDVOLUME, OURS, TENSORSTORE, VolumekitVolume, contestants, installed
from benchmarks.peers import Box, CloudVolumeVolume, PeerVolume, TensorStoreVolume
from volumekit.testing.servers import FastS3, fast_s3

FAR = 0.02
"""Seconds that every answer of the far server takes."""

KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_SESSION_TOKEN": "benchmark"}
FAR_SIDE = 256
"""Side of the box that is read from the far server: 64 chunks."""


def cases() -> Iterator[Case]:
    """Yield a case per distance and way of reading."""
    near = (at_most(1.10, TENSORSTORE), faster(3, CLOUDVOLUME))
    yield Case("read all from S3, raw 64^3", functools.partial(read_all, near))
    yield Case("read random 64^3 from S3, raw 64^3", read_random)
    far = (at_most(1.10, TENSORSTORE),)
    yield Case("read 256^3, S3 20 ms away, raw 64^3", functools.partial(read_far, VolumekitVolume, far))
    bridge = (at_most(1.60, TENSORSTORE),)
    yield Case("read 256^3, S3 20 ms away, in Python", functools.partial(read_far, InPython, bridge))


class InPython(VolumekitVolume):
    """A volume whose chunks are decoded in Python, as those of encodings are that TensorStore does not know."""

    def __init__(self, path: Any, **options: Any) -> None:
        from volumekit.testing.datasets import python_only

        super().__init__(path, **options)
        self._volume._format = python_only(self._volume._format)
        self._volume._forget()


def read_all(bars: tuple[Bar, ...], data: Data) -> Contest:
    """Read a whole volume."""
    volumes, box = _open(0.0, VolumekitVolume, data), whole(data.image.shape)
    return _contest(volumes, [box], lambda _: box, bars, data)


def read_random(data: Data) -> Contest:
    """Read small boxes off the chunk grid."""
    volumes = _open(0.0, VolumekitVolume, data)
    boxes = [data.box(number, data.image.shape) for number in range(3)]
    bars = (faster(3, CLOUDVOLUME),)
    return _contest(volumes, boxes, lambda n: data.box(n, data.image.shape), bars, data, calls=data.extent.calls)


def read_far(kind: type[VolumekitVolume], bars: tuple[Bar, ...], data: Data) -> Contest:
    """Read many chunks when each takes its time to arrive."""
    x, y, z = (min(FAR_SIDE, n) for n in data.image.shape)
    box = (slice(0, x), slice(0, y), slice(0, z))
    return _contest(_open(FAR, kind, data), [box], lambda _: box, bars, data)


def _contest(
    volumes: dict[str, PeerVolume],
    boxes: list[Box],
    given: Callable[[int], Box],
    bars: tuple[Bar, ...],
    data: Data,
    calls: int = 1,
) -> Contest:
    def contestant(name: str) -> Sample:
        return timed(volumes[name].read, given)

    def check() -> None:
        for box in boxes:
            for name, volume in volumes.items():
                assert (volume.read(box)[..., 0] == data.image[box]).all(), f"{name} read other voxels of {box}"

    return Contest(contestants(contestant, RAW.peers), check, bars, calls=calls)


def _open(latency: float, kind: type[VolumekitVolume], data: Data) -> dict[str, PeerVolume]:
    """Open the same dataset with everybody."""
    server, bucket = _server(latency), f"x{'x'.join(map(str, data.image.shape))}"
    url = f"s3://{server.url}/{bucket}/image"
    login = {"key": KEYS["AWS_ACCESS_KEY_ID"], "secret": KEYS["AWS_SECRET_ACCESS_KEY"]}
    if (latency, bucket) not in _MADE:
        server.make_bucket(bucket)
        VolumekitVolume.create(url, data.image, chunk=RAW.chunk, storage_options=login)
        _MADE.add((latency, bucket))
    found: dict[str, PeerVolume] = {OURS: kind.open(url, storage_options=login)}
    with _environment():
        found[TENSORSTORE] = _tensorstore(server.url, bucket)
        if installed(CLOUDVOLUME):
            found[CLOUDVOLUME] = _cloudvolume(server.url, bucket)
    return found


_MADE: set[tuple[float, str]] = set()


@functools.cache
def _server(latency: float) -> FastS3:
    server = fast_s3(latency=latency).__enter__()
    atexit.register(server.__exit__)
    return server


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Let the peers find credentials: they look for them when they first ask."""
    before = {name: os.environ.get(name) for name in KEYS}
    os.environ.update(KEYS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _tensorstore(endpoint: str, bucket: str) -> TensorStoreVolume:
    store = {
        "driver": "s3",
        "bucket": bucket,
        "path": "image/",
        "endpoint": endpoint,
        "aws_region": "us-east-1",
        "aws_credentials": {"type": "environment"},
    }
    return TensorStoreVolume({"open": True, "kvstore": store}, "unused")


def _cloudvolume(endpoint: str, bucket: str) -> CloudVolumeVolume:
    """Open with CloudVolume, which takes servers of one's own under a name only."""
    from cloudfiles.paths import add_alias

    name = f"port{endpoint.rpartition(':')[2]}"
    add_alias(name, f"s3://{endpoint}/")
    return CloudVolumeVolume(f"{name}://{bucket}/image")
