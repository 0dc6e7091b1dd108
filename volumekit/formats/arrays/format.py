"""Datasets whose levels are stored arrays."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar

from numpy.typing import NDArray

from volumekit.errors import CorruptChunkError, OptionError, VolumekitError
from volumekit.formats.arrays.layer import Layer
from volumekit.formats.base import AT, Cell, Container, Format, Native, WrongFormat
from volumekit.model.axis import Axis
from volumekit.model.level import Level

T = TypeVar("T")

Have = Mapping[str, bytes | None]
Reading = Generator[set[str], None, T]
"""Reads metadata; yields keys that have not been fetched yet."""


def fetched(have: Have, *keys: str) -> Reading[list[bytes | None]]:
    """Wait for metadata objects; None for those that do not exist."""
    missing = {key for key in keys if key not in have}
    if missing:
        yield missing
    return [have[key] for key in keys]


class Choices:
    """What is chosen by ``at``: parts of a dataset, and positions on further axes.

    Parameters
    ----------
    have : Mapping
        Metadata, the choices among them.
    """

    def __init__(self, have: Have) -> None:
        self._left: dict[str, Any] = json.loads(have.get(AT) or b"{}")

    def take(self, name: str) -> Any:
        """Return what was chosen, None if nothing was; each choice is to be taken once."""
        return self._left.pop(name, None)

    def position(self, name: str, extent: int) -> int:
        """Return the position on an axis, the first one if none was chosen.

        Raises
        ------
        OptionError
            If there is no such position.
        """
        chosen = self.take(name)
        if chosen is None:
            return 0
        if not isinstance(chosen, int) or isinstance(chosen, bool) or not 0 <= chosen < extent:
            raise OptionError(f"at {name}={chosen!r}: the positions of {name} are 0 to {extent - 1}")
        return chosen

    def finish(self, known: Iterable[str]) -> None:
        """Refuse what nobody has taken.

        Raises
        ------
        OptionError
            If there is some; it lists what there is to choose.
        """
        for name in self._left:
            among = ", ".join(known) or "nothing"
            if name in ("x", "y", "z", "channel"):
                raise OptionError(f"{name} is an axis of the volume itself: index it, rather than at={{{name!r}: …}}")
            raise OptionError(f"at: there is no {name!r} to choose here; there is {among}")


class ArrayFormat(Format):
    """A dataset whose levels are stored arrays.

    Parameters
    ----------
    nodes : Mapping
        The metadata objects, by key.
    layers : sequence of Layer or Level
        The levels, finest first; a plain `Level` cannot be opened.
    kind : str
        ``"image"`` or ``"segmentation"``.
    """

    suffixed: ClassVar[bool] = False
    fixes: ClassVar[bool] = True

    def __init__(self, nodes: Mapping[str, bytes], layers: Iterable[Layer | Level], kind: str = "image") -> None:
        self.nodes, self.kind = dict(nodes), kind
        self.layers = tuple(layers)
        self.levels = tuple(layer.level if isinstance(layer, Layer) else layer for layer in self.layers)
        self._by_key = {layer.level.key: layer for layer in self.layers if isinstance(layer, Layer)}

    @classmethod
    def needs(cls, have: Have) -> Collection[str]:
        """Ask for what reading comes to next."""
        try:
            return next(cls.reading(have), set())
        except VolumekitError:
            return ()

    @classmethod
    def parse(cls, have: Have) -> Self:
        """Build the format from its metadata."""
        reading = cls.reading(have)
        try:
            missing = next(reading)
        except StopIteration as stop:
            found: Self = stop.value
            return found
        raise WrongFormat(f"there is no {', '.join(sorted(missing))}")

    @classmethod
    def reading(cls, have: Have) -> Reading[Self]:
        """Read the metadata; see `fetched`.

        Raises
        ------
        WrongFormat
            If this is another format's data.
        MetadataError
            If it is this format's but cannot be understood.
        """
        raise NotImplementedError

    def metadata(self) -> dict[str, bytes]:
        """Return the metadata objects."""
        return dict(self.nodes)

    @property
    def layer_type(self) -> str:
        """What the voxels mean."""
        return self.kind

    def axes(self, level: Level) -> tuple[Axis, ...]:
        """Return x, y, z and channel, and the axes that are fixed."""
        four = super().axes(level)
        layer = self._by_key.get(level.key)
        return four if layer is None else (*four, *layer.roles.further)

    def _layer(self, level: Level) -> Layer:
        return self._by_key[level.key]

    def require_codec(self, level: Level) -> None:
        """Raise unless chunks can be decoded here."""
        self._layer(level).array.require_codec()

    def prefix(self, level: Level) -> str:
        """Return what the keys of a level's chunks start with."""
        return self._layer(level).array.prefix()

    def is_chunk(self, level: Level, key: str) -> bool:
        """Tell whether a key is that of a chunk or shard."""
        return self._layer(level).array.is_chunk(key)

    def key(self, level: Level, cell: Cell) -> str:
        """Return the key of a cell."""
        return self._layer(level).key(cell)

    def decode(self, level: Level, cell: Cell, value: Any) -> NDArray[Any]:
        """Return the voxels of a cell.

        Raises
        ------
        CorruptChunkError
            If its bytes are damaged; it names the shard they are in, if there is one.
        """
        try:
            return self._layer(level).decode(cell, value.data)
        except CorruptChunkError as error:
            _name_shard(error, value)
            raise

    def raw(self, level: Level, cell: Cell, value: Any) -> bytes | memoryview | None:
        """Return the voxels of a cell as raw bytes, if such are stored; see `decode`."""
        try:
            return self._layer(level).raw(cell, value.data)
        except CorruptChunkError as error:
            _name_shard(error, value)
            raise

    def encode(self, level: Level, cell: Cell, chunk: NDArray[Any]) -> bytes:
        """Return the bytes of a cell; other positions of fixed axes in its chunk hold the fill value."""
        return self._layer(level).encode(cell, chunk)

    def merge(
        self, level: Level, cell: Cell, chunk: NDArray[Any], value: Any | None, *, needed: bool = True
    ) -> bytes | None:
        """Return the bytes of a chunk of which the cell is one position of its fixed axes.

        Raises
        ------
        CorruptChunkError
            If the stored bytes are damaged.
        """
        return self._layer(level).merge(cell, chunk, None if value is None else value.data, needed=needed)

    def container(self, level: Level) -> Container | None:
        """Return the shards of a level that has some."""
        return self._layer(level).array.container()

    def flat(self) -> Self:
        """Return the same levels without shards."""
        twin = copy.copy(self)
        twin.nodes = dict(self.nodes)
        layers: list[Layer | Level] = []
        for layer in self.layers:
            if not isinstance(layer, Layer):
                layers.append(layer)
                continue
            array = layer.array.flat()
            twin.nodes.update(array.documents())
            layers.append(replace(layer, array=array, level=replace(layer.level, sharding=None)))
        twin.__dict__.update(ArrayFormat(twin.nodes, layers, self.kind).__dict__)
        return twin

    def native(self, level: Level) -> Native | None:
        """Return TensorStore's spec; the metadata are passed along, so that TensorStore never reads them."""
        return self._layer(level).native()


def _name_shard(error: CorruptChunkError, value: Any) -> None:
    """Raise an error that names the shard a value is in, if it is in one."""
    if "shard" in value.attrs:
        raise CorruptChunkError(f"in shard {value.attrs['shard']}: {error.message}") from error
