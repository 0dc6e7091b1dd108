"""What a format is: metadata into levels, cells into keys, bytes into voxels. It never fetches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from volumekit.errors import VolumekitError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from volumekit.model.axis import Axis
    from volumekit.model.bbox import Bbox
    from volumekit.model.level import Level

Cell = tuple[int, int, int, int]
"""Position of a chunk in its level's grid, (x, y, z, channel), counted from the level's lowest voxel."""

SELECTOR = "*"
"""Key in ``have`` of what a URL selects in its directory, where it names no directory.

It is there before `Format.needs` is asked first: a wildcard pattern relative to the directory, in the manner
of `fnmatch` part by part (``**`` is any number of directories); the name of one file is a pattern without
wildcards (``[*]``, ``[?]`` and ``[[]`` are the characters themselves). Only formats that say `Format.selects`
see it.
"""

PLACEMENT = "*z"
"""Key in ``have``: where the planes of an image stack lie; ``b"name"``: at the number in the file name."""

AT = "@"
"""Key in ``have``: what was chosen of the dataset's parts and further axes, as JSON; see `Format.fixes`."""

DESCRIPTION = "#"
"""Ending of keys that want the headers of an image file, as JSON: see `storage.pages.describe_image`."""


class WrongFormat(VolumekitError):
    """These bytes belong to another format; the next one is tried."""


@dataclass(frozen=True)
class Native:
    """How TensorStore's own drivers open a level.

    Attributes
    ----------
    spec : dict
        Spec without its ``kvstore``; the engine adds that.
    path : str
        Where below the dataset the driver's key-value store starts; empty or ends in ``/``.
    fills : bool
        Whether a missing chunk surely is the level's fill value, so that the driver may say so by itself.
    blind : bool
        Whether the driver takes missing chunks for zeros, whatever it is told; it then only reads what is known to be
        there, and never writes.
    document : str
        Key of the metadata that the spec comes from, for messages.
    """

    spec: dict[str, Any]
    path: str = ""
    fills: bool = False
    blind: bool = False
    document: str = ""


@dataclass(frozen=True)
class Container:
    """A file that holds many chunks: ``kind`` names the store that maps virtual keys to byte ranges in it."""

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Format(ABC):
    """A volume laid out in a store.

    Attributes
    ----------
    name : str
        The name in URLs (``name://…``).
    writable : bool
        Whether chunks of this format are ever written.
    selects : bool
        Whether a dataset may be a file, or the files that match a pattern, rather than a directory.
    fixes : bool
        Whether a dataset may have parts to choose from, or axes beyond x, y, z and channel; `AT` says which ones.
    suffixed : bool
        Whether chunks may be kept compressed behind suffixes of their keys.
    levels : tuple of Level
        Finest first.
    """

    name: ClassVar[str]
    writable: ClassVar[bool] = True
    selects: ClassVar[bool] = False
    fixes: ClassVar[bool] = False
    suffixed: ClassVar[bool] = True
    levels: tuple[Level, ...]

    @classmethod
    @abstractmethod
    def needs(cls, have: Mapping[str, bytes | None]) -> Collection[str]:
        """Say which metadata is wanted next.

        Asked again with the answers (None: no such key) until nothing more is wanted. A key that ends in
        ``/`` wants the listing of that directory: its names joined by newlines, sub-directories ending in
        ``/``; ``"/"`` is the dataset's own directory. A key that ends in `DESCRIPTION` wants the headers of
        that image file.
        """

    @classmethod
    @abstractmethod
    def parse(cls, have: Mapping[str, bytes | None]) -> Self:
        """Build the format from its metadata.

        Raises
        ------
        WrongFormat
            If this is another format's data.
        MetadataError
            If it is this format's but cannot be understood.
        """

    @abstractmethod
    def metadata(self) -> dict[str, bytes]:
        """Return the metadata objects, by key."""

    def commits(self) -> Iterator[dict[str, bytes]]:
        """Yield the metadata objects in the order to store them: what makes it a dataset comes last."""
        yield self.metadata()

    @property
    def copies(self) -> tuple[str, ...]:
        """Objects that may hold copies of the metadata; they are removed when these change."""
        return ()

    @property
    def note(self) -> str | None:
        """The metadata object that holds the provenance; None: it is an object of its own, ``provenance``."""
        return None

    def noted(self, data: bytes | None, provenance: Mapping[str, Any]) -> bytes:
        """Return the object `note` with a provenance.

        Parameters
        ----------
        data : bytes or None
            The object as it is stored. None: there is none, and what is returned must not make a dataset.
        provenance : Mapping
            JSON values.
        """
        raise NotImplementedError

    def provenance(self, data: bytes) -> Mapping[str, Any] | None:
        """Return the provenance in the object `note`, None if there is none."""
        raise NotImplementedError

    @abstractmethod
    def key(self, level: Level, cell: Cell) -> str:
        """Return the key of a cell: one object (or container entry), owned by this cell alone."""

    def keys(self, level: Level, cells: tuple[range, range, range, range]) -> Iterator[str]:
        """Yield the keys of a box of cells, (x, y, z, channel): channel fastest, then x, y and z."""
        from volumekit.model.grid import iterate_cells

        for x, y, z in iterate_cells(cells[:3]):
            for c in cells[3]:
                yield self.key(level, (x, y, z, c))

    @abstractmethod
    def decode(self, level: Level, cell: Cell, value: Any) -> NDArray[Any]:
        """Return the voxels of a cell, (x, y, z, channel), from a `storage.base.Value`."""

    def fill(self, level: Level, cell: Cell, value: Any, out: NDArray[Any], inside: tuple[slice, ...]) -> bool:
        """Put voxels of a cell straight into an array of the level's type; tell whether that takes less than `decode`.

        If not, nothing is done. ``inside`` has a slice for each of (x, y, z, channel).
        """
        return False

    def raw(self, level: Level, cell: Cell, value: Any) -> bytes | memoryview | None:
        """Return what `decode` returns as raw bytes, x fastest and channel slowest, little endian.

        Only where that takes no array, because nothing else is stored, compressed at most; else None.
        """
        return None

    def labels(self, level: Level, cell: Cell, value: Any) -> NDArray[Any] | None:
        """Return the distinct values of a cell, sorted, where they are had without decoding it; else None."""
        return None

    def mask(self, level: Level, cell: Cell, value: Any, label: int) -> NDArray[np.bool_]:
        """Return where a cell, (x, y, z, channel), has a value; decodes no more than it must."""
        same: NDArray[np.bool_] = self.decode(level, cell, value) == label
        return same

    @abstractmethod
    def encode(self, level: Level, cell: Cell, chunk: NDArray[Any]) -> bytes | None:
        """Return the bytes of a cell; None: do not store it."""

    def merge(
        self, level: Level, cell: Cell, chunk: NDArray[Any], value: Any | None, *, needed: bool = True
    ) -> bytes | None:
        """Return the bytes of a cell whose object holds more than the cell: see `model.level.Level.spans`.

        Parameters
        ----------
        level, cell
            Which one.
        chunk : numpy.ndarray
            Its voxels, (x, y, z, channel).
        value : storage.base.Value or None
            What is stored, whose other positions stay as they are; None: they hold the fill value.
        needed : bool
            Whether the object must be stored even if its other positions hold nothing but the fill value.

        Returns
        -------
        bytes or None
            None: do not store it.
        """
        return self.encode(level, cell, chunk) if needed else None

    def prefix(self, level: Level) -> str | None:
        """Return the prefix under which listing finds all objects of a level, and nothing else."""
        return None

    def is_chunk(self, level: Level, key: str) -> bool:
        """Tell whether an object below a level's prefix is one of its chunks; anything may lie beside them."""
        return True

    def box(self, level: Level, cell: Cell) -> Bbox:
        """Return the voxels of a cell, cut at the level's bounds."""
        from volumekit.model.grid import cell_box

        return cell_box(level.bounds, level.chunk[:3], cell[:3])

    @property
    def layer_type(self) -> str:
        """What the voxels mean: ``"image"`` or ``"segmentation"``."""
        return "image"

    def axes(self, level: Level) -> tuple[Axis, ...]:
        """Return the axes of a level, those that are fixed at the end."""
        from volumekit.model.axis import Axis

        three = zip("xyz", level.shape, level.resolution, strict=False)
        space = (Axis(name, "space", extent, size, "nm") for name, extent, size in three)
        return (*space, Axis("channel", "channel", level.channels))

    def require_codec(self, level: Level) -> None:
        """Raise unless chunks of a level can be decoded here.

        Raises
        ------
        UnsupportedError, MissingExtraError
            Naming the codec.
        """
        from volumekit.codecs import get_codec

        get_codec(level.codec)

    def container(self, level: Level) -> Container | None:
        """Return the container that a level's chunks live in, if they do."""
        return None

    def flat(self) -> Format:
        """Return the same levels without containers: the layout of a disk mirror."""
        return self

    def native(self, level: Level) -> Native | None:
        """Return how TensorStore opens a level by itself, or None if it cannot."""
        return None
