"""A toy format: a text file with a line per level, and a raw file per chunk, z fastest."""

import numpy as np

from volumekit.errors import CorruptChunkError, MetadataError
from volumekit.formats.base import Format, WrongFormat
from volumekit.model.bbox import Bbox
from volumekit.model.level import C_ORDER, CodecSpec, Level

HEADER = "toy.txt"


class Toy(Format):
    """Volumes of one channel; each level is a line of its type, x, y, z of offset, size and chunk, and voxel size."""

    name = "toy"

    def __init__(self, lines):
        self.lines = list(lines)
        self.levels = tuple(self._level(number, line) for number, line in enumerate(self.lines))

    def _level(self, number, line):
        try:
            dtype, *numbers, voxel = line.split()
            x, y, z, *sizes = (int(n) for n in numbers)
            a, b, c, *chunk = sizes
            level = Level(
                key=f"level{number}",
                bounds=Bbox((x, y, z), (x + a, y + b, z + c)),
                chunk=(*chunk, 1),
                dtype=np.dtype({"byte": "u1", "short": "u2"}[dtype]),
                channels=1,
                resolution=(float(voxel),) * 3,
                codec=CodecSpec("raw"),
                order=C_ORDER,
            )
        except (ValueError, KeyError, OverflowError) as error:
            raise MetadataError(f"line {number} of {HEADER} makes no sense: {line!r}", key=HEADER) from error
        if len(chunk) != 3 or not all(0 < n < 2048 for n in chunk) or min(a, b, c) < 1 or not 0 < float(voxel) < 1e9:
            raise MetadataError(f"line {number} of {HEADER} has impossible sizes: {line!r}", key=HEADER)
        return level

    @classmethod
    def needs(cls, have):
        return {HEADER} - set(have)

    @classmethod
    def parse(cls, have):
        if have.get(HEADER) is None:
            raise WrongFormat(f"there is no {HEADER}")
        lines = have[HEADER].decode("latin-1").splitlines()
        if not lines:
            raise MetadataError("it is empty", key=HEADER)
        return cls(lines)

    def metadata(self):
        return {HEADER: "".join(f"{line}\n" for line in self.lines).encode()}

    def prefix(self, level):
        return f"{level.key}/"

    def key(self, level, cell):
        return "{}/{}.{}.{}".format(level.key, *cell[:3])

    def decode(self, level, cell, value):
        shape = (*self.box(level, cell).size3().tolist(), 1)
        try:
            return np.frombuffer(value.data, level.dtype.newbyteorder(">")).reshape(shape)
        except ValueError as error:
            raise CorruptChunkError(f"{len(value.data)} bytes are no chunk of {shape} {level.dtype}") from error

    def encode(self, level, cell, chunk):
        return chunk.astype(level.dtype.newbyteorder(">")).tobytes(order="C")
