"""Damaged zarr metadata and chunks: refused by documented errors, or read as zarr-python reads them.

python -m benchmarks.campaigns.zarr_mutations --count 2000 --seed 1
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.campaigns.codec_mutations import mutate
from benchmarks.campaigns.mutants import command
from volumekit import Volume
from volumekit.errors import VolumekitError

SHAPE = (20, 18, 14)
CHUNK = (8, 8, 8)
MOST = 1 << 22
"""Volumes of more voxels than this are read in part, and zarr-python is not asked."""

_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
_ABSURD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 0.5, -0.0, 1e308, 1e-320, 2**31, 2**53 + 1, 2**63, 2**64, 10**400,
    "", "x", "NaN", "Infinity", "0x7fc0", "..", "../../x", "/", "/etc", "1", "\x00", "\ud800", "é" * 200,
    "C", "F", "<u2", ">f8", "|b1", "|V3", "uint8", "float64", "0.6", "0.1", "space", "time", "channel", "micrometer",
    "bytes", "zstd", "blosc", "crc32c", "delta", "pickle", "sharding_indexed", "scale", "translation",
    [], [[]], [None], [0], [1, 1, 1], [0, 0, 0], [-1, 1, 1], [1e300] * 3, [1.5] * 3, [2**62] * 3, [1] * 40,
    {}, {"name": "x"}, {"id": "pickle"}, {"id": "zstd"}, {"type": "scale"}, {"name": "bytes"},
    {"name": "zstd", "configuration": None},
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A dataset: how it is made in a folder; whether it is one array, about which zarr-python is asked."""

    name: str
    make: Callable[[Path], None]
    asked: bool = True
    megabytes: float = 400

    @contextmanager
    def ready(self) -> Iterator[Callable[[np.random.Generator | None], str]]:
        """See `benchmarks.campaigns.mutants.Subject`; every attempt opens, reads, reports and writes."""
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="zarr")
            bench = Bench(self, Path(folder))

            def attempt(random: np.random.Generator | None) -> str:
                if random is not None:
                    bench.plant(random)
                try:
                    return bench.use()
                finally:
                    bench.restore()

            yield attempt


def voxels(dtype: str = "uint16") -> Any:
    """Return what is stored, (z, y, x); nothing of it is zero."""
    z, y, x = np.indices(SHAPE[::-1])
    return (1 + (x // 3 * 40 + y // 2 * 9 + z * 5) % 250).astype(dtype)


def subjects() -> list[Stored]:
    """Return arrays and images of each version, with every kind of codec."""
    import numcodecs

    v2 = [
        ("v2 blosc", {"compressors": numcodecs.Blosc("zstd")}),
        ("v2 raw, F order", {"compressors": None, "order": "F"}),
        ("v2 delta and zlib", {"compressors": numcodecs.Zlib(1), "filters": [numcodecs.Delta("<u2")]}),
        ("v2 lz4", {"compressors": numcodecs.LZ4()}),
    ]
    v3 = ["zstd", "gzip", "sharded", "nested shards", "numcodecs lz4 and crc32c"]
    return [
        *(Stored(name, _array(2, **how)) for name, how in v2),
        *(Stored(f"v3 {name}", _v3(name)) for name in v3),
        *(Stored(f"OME-Zarr {version}", _image(version), asked=False) for version in ("0.4", "0.5")),
    ]


def _array(version: int, *, chunks: tuple[int, ...] = CHUNK[::-1], **how: Any) -> Callable[[Path], None]:
    encoding = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == 2 else {}

    def make(folder: Path) -> None:
        import zarr

        kind = {"shape": SHAPE[::-1], "chunks": chunks, "dtype": "uint16", "zarr_format": version, "fill_value": 0}
        zarr.create_array(folder, **kind, **encoding, **how)[...] = voxels()

    return make


def _v3(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec
        from zarr.codecs import numcodecs as extra

        def shard(shape: tuple[int, ...], *codecs: Any) -> Any:
            return ShardingCodec(chunk_shape=shape, codecs=[*codecs])

        inner = shard((2, 8, 4), TransposeCodec(order=(2, 1, 0)), BytesCodec(), GzipCodec(level=1))
        whole: dict[str, Any] = {"compressors": [], "chunks": (16, 16, 16)}
        how: dict[str, dict[str, Any]] = {
            "zstd": {"compressors": ZstdCodec(checksum=True), "dimension_names": ["z", "y", "x"]},
            "gzip": {"compressors": GzipCodec(level=1), "serializer": BytesCodec(endian="big")},
            "sharded": {"serializer": shard(CHUNK[::-1], BytesCodec(), ZstdCodec()), **whole},
            "nested shards": {"serializer": shard(CHUNK[::-1], inner), **whole},
            "numcodecs lz4 and crc32c": {"compressors": [extra.LZ4(), Crc32cCodec()]},
        }
        _array(3, **how[name])(folder)

    return make


def _image(version: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import zarr

        group = zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)
        axes = [{"name": "t", "type": "time", "unit": "second"}]
        axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        datasets = []
        for level in range(3):
            data = voxels()[:: 2**level, :: 2**level, :: 2**level]
            stack = np.stack([data, data + 1])
            chunks = (1, *CHUNK[::-1])
            group.create_array(f"s{level}", shape=stack.shape, chunks=chunks, dtype="uint16")[...] = stack
            scale = {"type": "scale", "scale": [1.0, *[0.5 * 2**level] * 3]}
            shift = {"type": "translation", "translation": [0.0, *[0.25 * (2**level - 1)] * 3]}
            datasets.append({"path": f"s{level}", "coordinateTransformations": [scale, shift]})
        entry = {"axes": axes, "datasets": datasets, "name": "image", "type": "nearest"}
        if version == "0.4":
            group.attrs["multiscales"] = [{**entry, "version": "0.4"}]
        else:
            group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}

    return make


def damage(document: bytes, random: np.random.Generator) -> bytes:
    """Return damaged metadata: mostly values that are absurd, missing or in the wrong place; else the text itself."""
    if random.random() < 0.15:
        return mutate(document, random)
    changed = json.loads(document)
    for _ in range(int(random.choice([1, 1, 1, 2, 3]))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = places[int(random.integers(len(places)))]
        match int(random.integers(6)):
            case 0:
                del holder[key]
            case 1:
                other, name = places[int(random.integers(len(places)))]
                holder[key] = copy.deepcopy(other[name])
            case 2 if isinstance(holder[key], int | float):
                holder[key] = holder[key] * float(random.choice([-1, 0, 0.5, 2, 1e9]))
            case 3 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case _:
                holder[key] = copy.deepcopy(_ABSURD[int(random.integers(len(_ABSURD)))])
    return json.dumps(changed).encode("utf-8", "replace")


def _places(value: Any) -> Any:
    """Yield holder and key of everything in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


class Bench:
    """A dataset of which one file is replaced again and again.

    Parameters
    ----------
    subject : Stored
        What it is.
    folder : Path
        Where to make it.
    """

    def __init__(self, subject: Stored, folder: Path) -> None:
        self.root, self.around = folder / "data.zarr", folder
        subject.make(self.root)
        self.asked, self.hit, self.compared = subject.asked, False, False
        self.files = {path.relative_to(self.root): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        self.documents = [name for name in self.files if name.name in _DOCUMENTS]
        self.chunks = [name for name in self.files if name.name not in _DOCUMENTS]

    def plant(self, random: np.random.Generator) -> None:
        """Damage a file, metadata more often than chunks."""
        self.hit = random.random() < 0.3
        among = self.chunks if self.hit else self.documents
        name = among[int(random.integers(len(among)))]
        (self.root / name).write_bytes((mutate if self.hit else damage)(self.files[name], random))

    def restore(self) -> None:
        """Put everything back; nothing was stored outside of the dataset."""
        outside = [path for path in self.around.iterdir() if path != self.root]
        for path in self.root.rglob("*"):
            if path.is_file() and path.relative_to(self.root) not in self.files:
                path.unlink(missing_ok=True)
        for name, data in self.files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)
        for path in outside:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert not outside, f"stored outside: {outside}"

    def use(self) -> str:
        """Open, read, report and write; return whether that worked, was compared, or was refused."""
        refused, self.compared = 0, False
        try:
            volume = Volume(self.root, non_aligned_writes=True, progress=False)
        except VolumekitError as error:
            _located(error)
            return "refused"
        for work in (self._read, self._report, self._write, self._mips):
            try:
                work(volume)
            except VolumekitError as error:
                _located(error)
                refused += 1
        if refused:
            return "in part" if refused < 4 else "refused"
        return "compared" if self.compared else "done"

    def _read(self, volume: Any) -> None:
        if math.prod(volume.shape) > MOST:
            part = volume[_corner(volume)]
            assert part.shape[:3] <= (9, 9, 9)
            return
        found = volume[...]
        assert found.shape == tuple(volume.shape), f"shape {found.shape}"
        if self.asked:
            self._compare(np.asarray(found), volume)

    def _compare(self, found: Any, volume: Any) -> None:
        """Compare with what zarr-python makes of it, if that is anything of the same shape."""
        import zarr

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                array = zarr.open_array(self.root, mode="r")
                if math.prod(array.shape) > MOST or math.prod(array.chunks) > MOST:
                    return
                expected = np.asarray(array[...])
            except Exception:  # it refuses, in its own ways
                if self.hit:
                    assert found.any(), "silent zeros"
                return
        if expected.size != found.size or found.dtype.kind not in "biuf":
            return
        layer = volume._format._layer(volume.levels[0])
        places = [place for place in layer.roles.places if place is not None]
        if len(places) < expected.ndim:
            return
        expected = expected.transpose(places).reshape(found.shape)
        assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"), "other voxels than zarr-python"
        self.compared = True

    def _report(self, volume: Any) -> None:
        volume.exists(_corner(volume)).num_missing  # noqa: B018
        volume.has_data()

    def _write(self, volume: Any) -> None:
        box = _corner(volume)
        volume[box] = 1
        assert (volume[box] == 1).all(), "other voxels than were written"

    def _mips(self, volume: Any) -> None:
        for mip, level in enumerate(volume.levels):
            if level.error is None:
                volume.mip = mip
                volume[_corner(volume)]
        str(volume.info)
        str(volume.axes)


def _located(error: Any) -> None:
    if not error.url:
        raise AssertionError(f"{error!r} does not say where") from error


def _corner(volume: Any) -> Any:
    low = volume.bounds.minpt.tolist()
    return tuple(slice(a, a + min(n, 9)) for a, n in zip(low, volume.shape[:3], strict=True))


if __name__ == "__main__":
    raise SystemExit(command("benchmarks.campaigns.zarr_mutations", __doc__))
