"""What plain arrays and images in zarr share: a root node, whose attributes hold the provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from volumekit.formats.arrays.format import ArrayFormat
from volumekit.formats.zarr import array_v2, array_v3
from volumekit.formats.zarr.notes import document_key, noted, provenance_in


class Rooted(ArrayFormat):
    """A dataset in a zarr hierarchy.

    Attributes
    ----------
    path : str
        Folder of the node that is the dataset; empty or ends in ``/``.
    version : int
        2 or 3.
    """

    path: str = ""
    version: int = 3

    def commits(self) -> Iterator[dict[str, bytes]]:
        """Yield the metadata objects of everything below the root, then those of the root."""
        names = (array_v2.GROUP, array_v2.ATTRIBUTES, array_v2.DOCUMENT) if self.version == 2 else (array_v3.DOCUMENT,)
        root = {self.path + name for name in names}
        below = {key: data for key, data in self.nodes.items() if key not in root}
        if below:
            yield below
        yield {key: data for key, data in self.nodes.items() if key in root}

    @property
    def copies(self) -> tuple[str, ...]:
        """The consolidated metadata of zarr v2; those of v3 are in the root itself."""
        return (self.path + array_v2.CONSOLIDATED,) if self.version == 2 else ()

    @property
    def note(self) -> str:
        """The object that holds the attributes of the root."""
        return document_key(self.path, self.version)

    def noted(self, data: bytes | None, provenance: Mapping[str, Any]) -> bytes:
        """Return the attributes of the root with a provenance."""
        return noted(data, self.note, provenance)

    def provenance(self, data: bytes) -> Mapping[str, Any] | None:
        """Return the provenance in the attributes of the root."""
        return provenance_in(data, self.note)
