"""Small datasets of a format, made with it and made without it: what `volumekit.testing.formats` tests."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.compression import SUFFIXES, compress
from volumekit.engine.array import LevelArray
from volumekit.engine.drive import run
from volumekit.engine.options import IOOptions
from volumekit.errors import MetadataError, UnsupportedError
from volumekit.formats.base import Cell, Format, WrongFormat
from volumekit.model.bbox import Bbox
from volumekit.model.grid import grid_shape, iterate_cells
from volumekit.model.level import Level
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.base import Store
from volumekit.volume.volume import Volume

Three = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """How the finest level of a new dataset is to be laid out; sizes are (x, y, z)."""

    shape: Three = (13, 11, 7)
    chunk: Three = (8, 5, 3)
    offset: Three = (0, 0, 0)
    dtype: str = "uint8"
    channels: int = 1

    @property
    def bounds(self) -> Bbox:
        """Voxels of the level, half-open."""
        return Bbox(self.offset, [a + n for a, n in zip(self.offset, self.shape, strict=True)])


@dataclass(frozen=True)
class Place:
    """A new dataset: where it is, how its chunks are compressed, and where they are if they share objects."""

    url: str
    store: Store
    compress: str | None
    inside: Callable[[Store, Format], Store] = lambda store, fmt: store

    def chunks(self, fmt: Format) -> Store:
        """Return the store of the finest level's chunks, by key."""
        return self.inside(self.store, fmt)

    def plant(self, fmt: Format, objects: Mapping[str, bytes | None]) -> None:
        """Store or delete (None) objects behind the format's back, chunks behind the suffix they have here."""
        if fmt.container(fmt.levels[0]) is not None:
            keys = {fmt.key(fmt.levels[0], cell) for cell in cells(fmt.levels[0])}
            self.chunks(fmt).commit({key: data for key, data in objects.items() if key in keys}).result()
            objects = {key: data for key, data in objects.items() if key not in keys}
        if self.compress is not None:
            objects = {
                key if key in fmt.metadata() else key + SUFFIXES[self.compress]: data for key, data in objects.items()
            }
        self.store.commit(objects).result()

    def packed(self, data: bytes) -> bytes:
        """Return the bytes that a chunk has in this place."""
        return data if self.compress is None else compress(data, self.compress)

    def open(self, **how: Any) -> Volume:
        """Open the dataset; the data tell the format."""
        how.setdefault("non_aligned_writes", True)
        return Volume(self.url, compress=self.compress, progress=False, **how)


class FormatCase:
    """A format under test: how to make its datasets, with it and without it.

    Attributes
    ----------
    layout : Layout
        Sizes to try; they differ along the axes, so that exchanged axes show.
    dtypes : tuple of str
        Data types it stores.
    channels : tuple of int
        Numbers of channels it stores.
    offsets : tuple of tuple of int
        Lowest voxels to try.
    lossless : bool
        Whether reading gives back the exact voxels.
    tolerance : float
        Largest mean error of a lossy encoding, in grey values.
    exact : bool
        Whether chunks have the very bytes that `reference` gives them.
    native : bool
        Whether TensorStore reads it by itself.
    fill_missing : bool
        The format's own rule: whether chunks that are not stored are filled rather than an error.
    optional : tuple of str
        Metadata objects that a dataset can be opened without.
    protocols : tuple of str
        Storages to try it on.
    compressions : tuple of str or None
        Compressions of chunks, behind suffixes, to try it with.
    """

    layout: ClassVar[Layout] = Layout()
    dtypes: ClassVar[tuple[str, ...]] = ("uint8",)
    channels: ClassVar[tuple[int, ...]] = (1,)
    offsets: ClassVar[tuple[Three, ...]] = ((0, 0, 0), (-9, 7, 1 << 33))
    lossless: ClassVar[bool] = True
    tolerance: ClassVar[float] = 0.0
    exact: ClassVar[bool] = True
    native: ClassVar[bool] = False
    fill_missing: ClassVar[bool] = False
    optional: ClassVar[tuple[str, ...]] = ()
    protocols: ClassVar[tuple[str, ...]] = ("file", "memory")
    compressions: ClassVar[tuple[str | None, ...]] = (None,)

    def create(self, layout: Layout) -> Format:
        """Return a new dataset of this format, as yet without chunks; it may have coarser levels too."""
        raise NotImplementedError("say how to describe a new dataset")

    def reference(self, layout: Layout, voxels: NDArray[Any]) -> Mapping[str, bytes]:
        """Return all objects of a dataset with these voxels, (x, y, z, channel), made without the format.

        Metadata and the chunks of the finest level, by key. Without it, a format that confuses axes, offsets or
        keys in the same way when it reads and writes would pass.
        """
        raise NotImplementedError("give one independent way to make a dataset")

    def inside(self, store: Store, fmt: Format) -> Store:
        """Return the chunks of the finest level by key, read and written without the format's container.

        Only formats whose objects hold many chunks need it.
        """
        return store

    def written(self, place: Place, fmt: Format) -> set[str]:
        """Return the keys of what is stored, as `reference` names it: objects, or chunks inside of them."""
        return {*place.store.list()}

    def layouts(self) -> Iterator[Layout]:
        """Yield layouts with every data type, number of channels and offset."""
        for dtype, channels in itertools.product(self.dtypes, self.channels):
            yield replace(self.layout, dtype=dtype, channels=channels, offset=self.offsets[-1])
        for offset in self.offsets[:-1]:
            yield replace(self.layout, dtype=self.dtypes[-1], channels=self.channels[-1], offset=offset)

    def last(self) -> Layout:
        """Return one layout: the last data type, the most channels, the last offset."""
        return Layout(self.layout.shape, self.layout.chunk, self.offsets[-1], self.dtypes[-1], self.channels[-1])

    def sample(self, layout: Layout) -> NDArray[Any]:
        """Return voxels to store, none of them 0: random if lossless, else smooth and different along all axes."""
        full, dtype = (*layout.shape, layout.channels), np.dtype(layout.dtype)
        if not self.lossless:
            x, y, z, c = np.ogrid[tuple(slice(n) for n in full)]
            ramp = 2 * x / full[0] + 3 * y / full[1] + 4 * z / full[2]
            smooth: NDArray[Any] = 20 + 20 * ramp + 9 * c
            return smooth.astype(dtype)
        top = 1 << 11 if dtype.name == "float16" else 1 << 30
        values = np.random.default_rng([*full, dtype.num]).integers(1, top, full)
        kept: NDArray[Any] = np.maximum(values.astype(dtype), np.ones((), dtype))
        return kept

    def assert_same(self, found: Any, voxels: NDArray[Any], note: object = "") -> None:
        """Assert that voxels were stored as well as the format promises."""
        assert (found.shape, found.dtype.newbyteorder("=")) == (voxels.shape, voxels.dtype), note
        if self.lossless:
            np.testing.assert_array_equal(found, voxels, err_msg=str(note))
        else:
            error = np.abs(np.asarray(found, float) - voxels).mean()
            assert error <= self.tolerance, f"mean error {error}: {note}"

    def places(self, tmp_path: Path) -> Iterator[Place]:
        """Yield a new place on every storage, with every compression."""
        for n, (protocol, method) in enumerate(itertools.product(self.protocols, self.compressions)):
            url = self.url(protocol, tmp_path / str(n))
            yield Place(url, open_store(parse_url(url)), method, self.inside)

    def url(self, protocol: str, folder: Path) -> str:
        """Return the URL of a new place on a storage; ``folder`` is new for each."""
        return f"{protocol}://{folder}"

    def stored(self, tmp_path: Path, layout: Layout | None = None) -> Iterator[tuple[Place, Format, NDArray[Any]]]:
        """Yield a dataset that was made without the format, in every place: where, its format, its voxels."""
        layout = layout or self.last()
        voxels = self.sample(layout)
        for place in self.places(tmp_path):
            fmt, objects = self.create(layout), self.reference(layout, voxels)
            chunks = {k: place.packed(data) for k, data in objects.items() if k not in fmt.metadata()}
            place.plant(fmt, {**objects, **chunks})
            yield place, self.parse(objects), voxels

    def parse(self, objects: Mapping[str, bytes | None]) -> Format:
        """Parse metadata of this format."""
        return parse(type(self.create(self.last())), objects)

    def parsed_or_refused(self, objects: Mapping[str, bytes | None]) -> Format | None:
        """Parse damaged metadata; None if it was refused by a documented error."""
        try:
            return self.parse(objects)
        except (WrongFormat, MetadataError, UnsupportedError):
            return None


def parse(kind: type[Format], objects: Mapping[str, bytes | None]) -> Format:
    """Parse metadata as a volume does: by answering what is needed until nothing more is."""
    have: dict[str, bytes | None] = {}
    for _ in range(20):
        wanted = set(kind.needs(have)) - set(have)
        if not wanted:
            return kind.parse(have)
        have.update({key: objects.get(key) for key in wanted})
    raise AssertionError(f"needs() never ends: {sorted(have)}")


def python_only(fmt: Format) -> Format:
    """Return the same format without TensorStore's own drivers, so that all goes through Python."""
    twin, kind = copy.copy(fmt), type(fmt)
    twin.__class__ = type(kind.__name__, (kind,), {"native": lambda self, level: None})
    return twin


def cells(level: Level) -> Iterator[Cell]:
    """Yield all cells of a level, x fastest."""
    grid = grid_shape(level.bounds, level.chunk[:3])
    for channel in range(-(-level.channels // level.chunk[3])):
        for x, y, z in iterate_cells(tuple(range(n) for n in grid)):
            yield x, y, z, channel


def apart(fmt: Format, level: Level) -> dict[Cell, list[str]]:
    """Return the keys of each box of chunks, by its first cell: several where channels are stored apart."""
    found: dict[Cell, list[str]] = {}
    for x, y, z, channel in cells(level):
        found.setdefault((x, y, z, 0), []).append(fmt.key(level, (x, y, z, channel)))
    return found


def chunk_of(voxels: NDArray[Any], fmt: Format, level: Level, cell: Cell) -> NDArray[Any]:
    """Return the chunk of a cell, cut from the voxels of its whole level."""
    first = cell[3] * level.chunk[3]
    return voxels[within(fmt.box(level, cell), level)][..., first : first + level.chunk[3]]


def within(box: Bbox, level: Level) -> tuple[slice, ...]:
    """Return where in the array of a level's voxels a box is."""
    corners = zip(box.minpt.tolist(), box.maxpt.tolist(), level.offset, strict=True)
    return tuple(slice(int(a) - o, int(b) - o) for a, b, o in corners)


def read(place: Place, fmt: Format, mip: int = 0, **options: Any) -> NDArray[Any]:
    """Read a whole level through the engine."""
    level = fmt.levels[mip]
    array = LevelArray(place.store, fmt, level, IOOptions(**options))
    return run(array.read((*level.offset, 0), (*level.end, level.channels)))


def write(place: Place, fmt: Format, box: Bbox, voxels: NDArray[Any], mip: int = 0) -> None:
    """Write a box through the engine."""
    level = fmt.levels[mip]
    array = LevelArray(place.store, fmt, level, IOOptions(compress=place.compress))
    (x, y, z), (a, b, c) = box.minpt.tolist(), box.maxpt.tolist()
    run(array.write((x, y, z, 0), (a, b, c, level.channels), voxels))
