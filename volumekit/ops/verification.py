"""What a comparison of two volumes found, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from volumekit.model.bbox import Bbox

SHOWN = 10


@dataclass
class Verification:
    """What a comparison found.

    Attributes
    ----------
    source, target : str
        What was compared.
    mip : int
        At which mip of the source.
    unit : {"voxels", "chunks"}
        What was compared: values of voxels, or checksums of stored chunks.
    blocks : int
        Boxes there are.
    compared : int
        Boxes that were compared.
    voxels : int
        Voxels, times channels, that were compared.
    chunks : int
        Chunks that were compared by checksums.
    different : int
        Voxels, or chunks, that differ.
    largest : float
        Largest difference of two values.
    boxes : list of Bbox
        Boxes, or chunks, with differences, in voxels of the source's mip.
    errors : list of str
        What could not be read.
    """

    source: str
    target: str
    mip: int
    unit: str = "voxels"
    blocks: int = 0
    compared: int = 0
    voxels: int = 0
    chunks: int = 0
    different: int = 0
    largest: float = 0.0
    boxes: list[Bbox] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs and all could be read."""
        return not self.different and not self.errors

    def __bool__(self) -> bool:
        return self.equal

    def add(self, part: Verification) -> None:
        """Add what a part of the comparison found."""
        for name in ("compared", "voxels", "chunks", "different", "boxes", "errors"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.largest = max(self.largest, part.largest)

    def sort(self) -> None:
        """Put what was found in the order of the boxes, whoever found it first."""
        self.boxes.sort(key=lambda box: box.minpt.tolist()[::-1])
        self.errors.sort()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        boxes = [[*box.minpt.tolist(), *box.maxpt.tolist()] for box in self.boxes]
        return {**self.__dict__, "boxes": boxes, "equal": self.equal}

    def __str__(self) -> str:
        share = "" if self.compared == self.blocks else f" ({self.compared:,} of {self.blocks:,} boxes)"
        count = getattr(self, self.unit)
        if self.equal:
            same = "" if self.unit == "voxels" else " by their checksums"
            return f"equal{same}: {count:,} {self.unit}{share} of mip {self.mip}"
        lines = [self._difference(count, share)]
        lines += [f"different: {box}" for box in self.boxes[:SHOWN]]
        lines += [f"unreadable: {error}" for error in self.errors[:SHOWN]]
        left = len(self.boxes) + len(self.errors) - len(lines) + 1
        return "\n".join(lines + ([f"... and {left:,} more"] if left > 0 else []))

    def _difference(self, count: int, share: str) -> str:
        if not self.different:
            what = f"none of {count:,} {self.unit} differ{share}, but" if count else "nothing could be compared:"
            many = f"{len(self.errors):,} boxes" if len(self.errors) > 1 else "1 box"
            return f"{what} {many} cannot be read"
        size = f", by {self.largest:g} at most" if self.unit == "voxels" else " by their checksums"
        return f"{self.different:,} of {count:,} {self.unit} differ{share}{size}"
