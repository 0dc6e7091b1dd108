"""The tests that every writable format passes.

Subclass `FormatConformance` in a test module, say how to describe a new dataset, and give one independent way to make
all of its objects::

    class TestToy(FormatConformance):
        def create(self, layout):
            return Toy(layout.shape, layout.offset, layout.chunk, layout.dtype, layout.channels)

        def reference(self, layout, voxels):
            return {"toy.txt": ..., "x0-y0-z0": ...}

The random part needs hypothesis.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from volumekit.codecs.compression import SUFFIXES
from volumekit.codecs.raw import Raw
from volumekit.errors import CorruptChunkError, MissingChunkError
from volumekit.formats import FORMATS
from volumekit.formats.base import Format, WrongFormat
from volumekit.model.bbox import Bbox
from volumekit.model.level import Level
from volumekit.storage.base import Store, Value
from volumekit.testing.datasets import (
    FormatCase,
    Layout,
    Place,
    apart,
    cells,
    chunk_of,
    parse,
    python_only,
    read,
    within,
    write,
)
from volumekit.volume.volume import Volume

__all__ = ["FormatConformance", "Layout"]

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_ABSURD = (b"-1", b"0", b"1" * 30, b"-" + b"9" * 17, b"2.5", b"1e400", b"NaN", b'"x"', b"null", b"[]", b"{}", b"")


class FormatConformance(FormatCase):
    """What a format promises; see `volumekit.formats.base.Format`. Attributes and hooks are those of `FormatCase`."""

    def is_native(self, level: Level) -> bool:
        """Tell whether TensorStore reads a level."""
        return self.native

    def test_is_registered(self) -> None:
        """Its name leads to it, and its metadata describe what was asked for."""
        for layout in self.layouts():
            fmt, level = self.create(layout), self.create(layout).levels[0]
            assert FORMATS[fmt.name] is type(fmt)
            assert (level.bounds, level.chunk[:3], level.channels) == (layout.bounds, layout.chunk, layout.channels)
            assert level.dtype == np.dtype(layout.dtype)
            assert level.error is None
            assert level.fill_missing == self.fill_missing
            assert (fmt.native(level) is not None) == self.is_native(level)

    def test_metadata_round_trips(self) -> None:
        """Metadata describe the same levels again, and are written the same again."""
        for layout in self.layouts():
            fmt = self.create(layout)
            again = self.parse(fmt.metadata())
            assert type(again) is type(fmt)
            assert again.levels == fmt.levels
            assert again.metadata() == fmt.metadata()

    def test_nothing_there_is_another_format(self) -> None:
        """Without metadata it is another format's data, not damage."""
        with pytest.raises(WrongFormat):
            self.parse({})

    def test_no_io(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is opened, listed or asked of the system; whoever holds bytes can use it."""
        fmt, voxels = self.create(self.last()), self.sample(self.last())
        _use(type(fmt), fmt.metadata(), voxels)  # imports what it needs

        def refuse(*args: Any, **how: Any) -> Any:
            raise AssertionError(f"a format does I/O: {args}")

        with monkeypatch.context() as patched:
            for name in (
                "builtins.open", "io.open", "os.open", "os.stat", "os.lstat", "os.listdir", "os.scandir", "os.mkdir",
                "os.remove", "os.rename", "socket.socket", "subprocess.Popen",
            ):  # fmt: skip
                patched.setattr(name, refuse)
            _use(type(fmt), fmt.metadata(), voxels)

    def test_cells_own_their_keys(self) -> None:
        """Each cell of each level has its own key, below the level's prefix; boxes tile the level."""
        for layout in self.layouts():
            fmt = self.create(layout)
            keys = list(fmt.metadata())
            for level in fmt.levels:
                tiled = np.zeros(level.shape[:3], int)
                for cell in cells(level):
                    key, box = fmt.key(level, cell), fmt.box(level, cell)
                    assert key.startswith(fmt.prefix(level) or "")
                    keys.append(key)
                    if cell[3] == 0:
                        tiled[within(box, level)] += 1
                assert (tiled == 1).all()
            assert len(set(keys)) == len(keys)

    def test_chunks_round_trip(self) -> None:
        """Every chunk comes back, edge chunks too, from any memory order."""
        for layout in self.layouts():
            fmt, voxels = self.create(layout), self.sample(layout)
            level = fmt.levels[0]
            for cell in cells(level):
                chunk = chunk_of(voxels, fmt, level, cell)
                data = [fmt.encode(level, cell, order(chunk)) for order in (np.ascontiguousarray, np.asfortranarray)]
                assert data[0] is not None
                assert data[0] == data[1]
                decoded = fmt.decode(level, cell, Value(data[0], b""))
                self.assert_same(decoded, chunk, (layout, cell))
                raw = fmt.raw(level, cell, Value(data[0], b""))
                assert raw is None or raw == Raw().encode(decoded), (layout, cell)

    def test_reads_what_others_wrote(self, tmp_path: Path) -> None:
        """A dataset made without the format is found and read right, each way into the engine."""
        for n, layout in enumerate(self.layouts()):
            for place, fmt, voxels in self.stored(tmp_path / str(n), layout):
                volume = place.open()
                assert volume.bounds == layout.bounds
                assert volume.cloudpath.startswith(f"{fmt.name}://")
                self.assert_same(volume[...], voxels, layout)
                box = _middle(layout)
                self.assert_same(volume[box], voxels[within(box, fmt.levels[0])], layout)
                for way in (fmt, python_only(fmt)):
                    self.assert_same(read(place, way), voxels, layout)
        assert Volume(f"{fmt.name}://{place.url}", progress=False).bounds == layout.bounds

    def test_writes_what_others_read(self, tmp_path: Path) -> None:
        """What is written has the keys, and where encoding leaves no choice the bytes, that others expect."""
        for n, layout in enumerate(self.layouts()):
            voxels, fmt = self.sample(layout), self.create(layout)
            expected = self.reference(layout, voxels)
            expected = {key: data for key, data in expected.items() if key not in fmt.metadata()}
            for place in self.places(tmp_path / str(n)):
                place.plant(fmt, fmt.metadata())
                place.open()[...] = voxels
                suffix = SUFFIXES[place.compress] if place.compress else ""
                assert self.written(place, fmt) - {*fmt.metadata()} == {key + suffix for key in expected}, layout
                if place.compress is None:
                    self._check_chunks(place, fmt, voxels)
                if self.exact and place.compress is None:
                    assert {key: _bytes(place.store, key) for key in expected} == expected, layout
                self.assert_same(place.open()[...], voxels, layout)

    def _check_chunks(self, place: Place, fmt: Format, voxels: NDArray[Any]) -> None:
        """Find every chunk of the finest level where others look for it."""
        level, chunks = fmt.levels[0], place.chunks(fmt)
        for cell in cells(level):
            value = chunks.read(fmt.key(level, cell)).result()
            assert value is not None, cell
            self.assert_same(fmt.decode(level, cell, value), chunk_of(voxels, fmt, level, cell), cell)

    def test_both_ways_agree(self, tmp_path: Path) -> None:
        """What TensorStore's driver writes Python reads, and the reverse; also chunks written in part."""
        for layout in self.layouts():
            fmt, voxels = self.create(layout), self.sample(layout)
            for turn, (writer, reader) in enumerate([(fmt, python_only(fmt)), (python_only(fmt), fmt)]):
                name = f"{layout.dtype}-{layout.channels}-{layout.offset}-{turn}"
                for place in self.places(tmp_path / name):
                    write(place, writer, layout.bounds, voxels)
                    self.assert_same(read(place, reader), voxels, layout)
                    box = _middle(layout)
                    part = voxels[within(box, fmt.levels[0])]
                    write(place, reader, box, part)
                    self.assert_same(read(place, writer), voxels, layout)

    def test_unaligned_writes(self, tmp_path: Path) -> None:
        """Pieces off the chunk grid, written in any order, make the whole; neighbours keep their voxels."""
        layout = self.last()
        voxels, fmt = self.sample(layout), self.create(layout)
        pieces = list(_pieces(layout))
        for place in self.places(tmp_path):
            place.plant(fmt, fmt.metadata())
            volume = place.open()
            for n in np.random.default_rng(5).permutation(len(pieces)):
                volume[pieces[n]] = voxels[within(pieces[n], fmt.levels[0])]
            self.assert_same(place.open()[...], voxels)
            volume[_middle(layout)] = 1
            if self.lossless:
                expected = voxels.copy()
                expected[within(_middle(layout), fmt.levels[0])] = 1
                self.assert_same(place.open()[...], expected)

    def test_partial_writes_keep_suffixes(self, tmp_path: Path) -> None:
        """Who writes without saying how finds and keeps the compression that chunks already have."""
        for place, fmt, voxels in self.stored(tmp_path):
            before, box = sorted(place.store.list()), _middle(self.last())
            part = voxels[within(box, fmt.levels[0])]
            Volume(place.url, non_aligned_writes=True, progress=False)[box] = part
            assert sorted(place.store.list()) == before
            self.assert_same(place.open()[...], voxels)

    def test_levels_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Every level that the metadata describe holds its own voxels."""
        layout = self.last()
        for place in self.places(tmp_path):
            fmt = self.create(layout)
            place.plant(fmt, fmt.metadata())
            whole = [self.sample(Layout(lv.shape[:3], dtype=layout.dtype, channels=lv.channels)) for lv in fmt.levels]
            for mip, voxels in enumerate(whole):
                place.open(mip=mip)[...] = voxels
            for mip, voxels in enumerate(whole):
                self.assert_same(place.open(mip=mip)[...], voxels, mip)

    def test_missing_chunks(self, tmp_path: Path) -> None:
        """A chunk that is not stored is filled or an error, as the format or the caller says; nothing else is."""
        for place, fmt, voxels in self.stored(tmp_path):
            level = fmt.levels[0]
            boxes = apart(fmt, level)
            gone, *_, kept = boxes
            place.plant(fmt, dict.fromkeys(boxes[gone]))
            hole, rest = fmt.box(level, gone), fmt.box(level, kept)
            for fill in (None, True, False):
                volume = place.open(fill_missing=fill, background_color=7)
                self.assert_same(volume[rest], voxels[within(rest, level)])
                if self.fill_missing if fill is None else fill:
                    assert (volume[hole] == 7).all()
                    self.assert_same(volume[...][within(rest, level)], voxels[within(rest, level)])
                    continue
                for index in (hole, ...):
                    with pytest.raises(MissingChunkError) as caught:
                        volume[index]
                    assert fmt.key(level, gone) in str(caught.value)

    def test_background_around_a_first_write(self, tmp_path: Path) -> None:
        """A chunk that is written in part for the first time holds background everywhere else."""
        layout = self.last()
        for place in self.places(tmp_path):
            fmt = self.create(layout)
            place.plant(fmt, fmt.metadata())
            volume = place.open(background_color=60, fill_missing=True)
            volume[Bbox(layout.offset, [n + 2 for n in layout.offset])] = 60 if not self.lossless else 9
            cell, *_ = cells(fmt.levels[0])
            box = fmt.box(fmt.levels[0], cell)
            expected = np.full((*box.size3().tolist(), layout.channels), 60, layout.dtype)
            if self.lossless:
                expected[:2, :2, :2] = 9
            self.assert_same(place.open(fill_missing=False)[box], expected)

    def test_reports_and_deletion(self, tmp_path: Path) -> None:
        """Reports tell what is stored; deleting removes the objects of the box and no others."""
        for place, fmt, voxels in self.stored(tmp_path):
            level, volume = fmt.levels[0], place.open()
            boxes = apart(fmt, level)
            keys = {cell: first for cell, (first, *_) in boxes.items()}
            first, second, *_, last = keys
            assert dict(volume.exists()) == dict.fromkeys(keys.values(), True)
            place.plant(fmt, dict.fromkeys([*boxes[first], *boxes[last][:1]]))
            assert set(volume.exists().missing) == {keys[first], keys[last]}
            assert volume.has_data()
            volume.delete(fmt.box(level, second))
            assert set(volume.exists().missing) == {keys[first], keys[second], keys[last]}
            left = sum(len(every) for cell, every in boxes.items() if cell not in (first, second)) - 1
            assert len(set(place.chunks(fmt).list()) - set(fmt.metadata())) == left
            volume.delete(volume.bounds)
            assert not volume.has_data()
            assert sorted(place.store.list()) == sorted(fmt.metadata())
            volume[...] = voxels
            self.assert_same(place.open()[...], voxels)

    def test_damaged_chunks(self, tmp_path: Path) -> None:
        """A damaged chunk is a documented error that names it, each way; the others can be read."""
        for place, fmt, voxels in self.stored(tmp_path):
            level = fmt.levels[0]
            broken, *_, kept = cells(level)
            hole, rest = fmt.box(level, broken), fmt.box(level, kept)
            data = fmt.encode(level, broken, chunk_of(voxels, fmt, level, broken))
            assert data is not None
            for damage in (b"", b"\0", data[: len(data) // 2], b"garbage" * 5):
                for stored in {place.packed(damage), damage}:
                    place.plant(fmt, {fmt.key(level, broken): stored})
                    volume = place.open(fill_missing=True)
                    with pytest.raises(CorruptChunkError) as caught:
                        volume[hole]
                    assert caught.value.url is not None
                    assert caught.value.key is not None
                    with pytest.raises(CorruptChunkError, match=re.escape(fmt.key(level, broken))):
                        read(place, python_only(fmt))
                    self.assert_same(volume[rest], voxels[within(rest, level)])

    def test_damaged_metadata(self) -> None:
        """Metadata that were cut, garbled or lost are refused, or make a level that cannot be opened."""
        fmt = self.create(self.last())
        objects = fmt.metadata()
        for key, data in objects.items():
            for damaged in (None, b"", b"\0", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000):
                found = self.parsed_or_refused({**objects, key: damaged})
                if key not in self.optional:
                    assert found is None or any(level.error for level in found.levels), (key, damaged)
            for end in range(0, len(data), max(1, len(data) // 60)):
                self.parsed_or_refused({**objects, key: data[:end]})
            random = np.random.default_rng(11)
            for _ in range(100):
                garbled = bytearray(data)
                garbled[random.integers(len(data))] = random.integers(256)
                self.parsed_or_refused({**objects, key: bytes(garbled)})

    def test_absurd_metadata(self) -> None:
        """No number in the metadata, however absurd, makes a level that cannot be."""
        objects = self.create(self.last()).metadata()
        for key, data in objects.items():
            for number in _NUMBER.finditer(data):
                for absurd in _ABSURD:
                    changed = data[: number.start()] + absurd + data[number.end() :]
                    fmt = self.parsed_or_refused({**objects, key: changed})
                    for level in fmt.levels if fmt else ():
                        if level.error is None:
                            assert min(level.shape) > 0, changed
                            assert min(level.chunk) > 0, changed
                            assert math.prod(level.chunk) * level.dtype.itemsize <= 1 << 32, changed
                            assert all(0 < n < math.inf for n in level.resolution), changed

    def test_random_layouts(self, tmp_path: Path) -> None:
        """Any layout takes any box."""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        from volumekit.testing.strategies import boxes, layouts

        far = max(abs(n) for offset in self.offsets for n in offset)
        sizes = layouts(dtypes=self.dtypes, channels=self.channels, far=far)
        count = iter(range(1 << 30))

        @settings(max_examples=20, deadline=None, database=None)
        @given(sizes, st.data())
        def check(layout: Layout, data: st.DataObject) -> None:
            fmt, voxels = self.create(layout), self.sample(layout)
            box = data.draw(boxes(layout.bounds))
            place = next(self.places(tmp_path / str(next(count))))
            place.plant(fmt, fmt.metadata())
            place.open()[...] = voxels
            place.open()[box] = voxels[within(box, fmt.levels[0])]
            self.assert_same(place.open()[...], voxels, layout)
            self.assert_same(place.open()[box], voxels[within(box, fmt.levels[0])], layout)

        check()


def _use(kind: type[Format], objects: Mapping[str, bytes], voxels: NDArray[Any]) -> None:
    """Do everything a format can do."""
    fmt = parse(kind, objects)
    level = fmt.levels[0]
    for ask in (fmt.native, fmt.prefix, fmt.container):
        ask(level)
    for cell in cells(level):
        fmt.key(level, cell)
        data = fmt.encode(level, cell, chunk_of(voxels, fmt, level, cell))
        assert data is not None
        fmt.decode(level, cell, Value(data, b""))


def _middle(layout: Layout) -> Bbox:
    """Return a box off the chunk grid that touches several chunks."""
    low = [a + n // 3 for a, n in zip(layout.offset, layout.shape, strict=True)]
    return Bbox(low, [a + n - n // 4 for a, n in zip(layout.offset, layout.shape, strict=True)])


def _pieces(layout: Layout) -> Iterator[Bbox]:
    """Cut a volume into boxes off the chunk grid."""
    middle = _middle(layout)
    cuts = zip(layout.offset, middle.minpt.tolist(), middle.maxpt.tolist(), layout.bounds.maxpt.tolist(), strict=True)
    spans = [[(a, b) for a, b in itertools.pairwise(cut) if a < b] for cut in cuts]
    for x, y, z in itertools.product(*spans):
        yield Bbox((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def _bytes(store: Store, key: str) -> bytes | None:
    value = store.read(key).result()
    return None if value is None else value.data
