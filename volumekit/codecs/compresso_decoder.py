"""Decoding compresso with numba, every step checked.

The C++ library trusts what it reads: damaged data make it read and write outside of its tables. This decoder gives
the same labels, refuses such data, and releases the GIL, which the package keeps.

Compresso (B. Matejek and others, 2017; stream versions 0 and 1, https://github.com/seung-lab/compresso) stores which
voxels differ from a neighbour, as windows of a few voxels whose distinct contents are listed once; the labels of the
components between these boundaries; and for the boundary voxels that have no neighbour inside of a component, in
raster order, where to find their label, or the label itself.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs.components import join, number
from volumekit.compiled import kernel
from volumekit.errors import CorruptChunkError

_U = np.uint64
_HEADER = struct.Struct("<4sBB3H3BQIQB")
_MAGIC = b"cpso"
_DAMAGE = (
    "",
    "a window that does not exist",
    "too many or too few windows",
    "more or fewer components than labels",
    "a boundary voxel that takes its label from outside, or from one that has none yet",
    "too many or too few labels of boundary voxels",
)


class _Sections(NamedTuple):
    """The parts of the data, as whole numbers; and the sizes (x, y, z) of a window."""

    labels: Any
    contents: Any
    locations: Any
    windows: Any
    step: Any
    connectivity: int


def decode(data: bytes, out: NDArray[Any]) -> None:
    """Decode a chunk.

    Parameters
    ----------
    data : bytes
        The stored bytes, possibly damaged.
    out : numpy.ndarray
        (x, y, z), an unsigned type, Fortran order; filled.

    Raises
    ------
    CorruptChunkError
        If the data are damaged, or declare another shape or type.
    """
    parts = _sections(data, out.shape, out.dtype)
    boundary = np.empty(out.size, np.bool_)
    voxels, shape = out.T.reshape(-1), np.array(out.shape)
    damage = _mark(parts.windows, parts.contents, boundary, shape, parts.step)
    if not damage:
        components = np.empty(out.size, np.uint32)
        parents = np.empty(out.shape[2] * ((out.shape[0] * out.shape[1] + 1) // 2) + 2, np.uint32)
        three = parts.connectivity == 6
        damage = _fill(boundary, components, parents, parts.labels, voxels, shape, three)
        damage = damage or _resolve(boundary, parts.locations, voxels, shape, three)
    if damage:
        raise CorruptChunkError(f"the compresso data are damaged: {_DAMAGE[damage]}")


def labels(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the labels of a chunk, each once, sorted; see `decode`."""
    parts = _sections(data, shape, dtype)
    return np.unique(np.concatenate([parts.labels, _written(parts.locations)])).astype(dtype)


def _sections(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Sections:
    """Check what is declared, and cut the data into its parts."""
    if len(data) < _HEADER.size:
        raise CorruptChunkError("not compresso data: the header is missing")
    magic, version, width, *header = _HEADER.unpack_from(data)
    sizes, steps, (count, listed, located, connectivity) = tuple(header[:3]), header[3:6], header[6:]
    if magic != _MAGIC or version > 1 or connectivity not in (4, 6):
        raise CorruptChunkError("not compresso data of version 0 or 1")
    if sizes != shape or width != dtype.itemsize:
        raise CorruptChunkError(f"the compresso data declare uint{8 * width} {sizes}, not {dtype} {shape}")
    window = math.prod(steps)
    if not 0 < window <= 64:
        raise CorruptChunkError(f"the compresso data declare windows of {steps} voxels")
    wide = next(n for n in (1, 2, 4, 8) if window <= 8 * n)
    index = 2 * shape[2] * _index_width(shape) * version
    rest = len(data) - _HEADER.size - index - width * (count + located) - wide * listed
    if rest < 0 or rest % wide:
        raise CorruptChunkError("the compresso data are cut short")
    at, parts = _HEADER.size, []
    for length, size in ((count, width), (listed, wide), (located, width), (rest // wide, wide)):
        parts.append(np.frombuffer(data, f"<u{size}", length, at).astype(np.uint64))
        at += length * size
    labels, contents, locations, windows = parts
    return _Sections(labels, contents, locations, windows, np.array(steps), connectivity)


def _index_width(shape: tuple[int, ...]) -> int:
    """Return the bytes of an entry of the index of sections, which is not needed to decode all of them."""
    worst = 2 * shape[0] * shape[1]
    return next((n for n in (1, 2, 4) if worst < 256**n - 1), 8)


@kernel
def _mark(windows: Any, contents: Any, boundary: Any, shape: Any, step: Any) -> int:
    """Mark the boundary voxels.

    A window is twice the number of its content, or an odd number: a run of windows with the first content.
    """
    nx, ny, nz = (shape[0] - 1) // step[0] + 1, (shape[1] - 1) // step[1] + 1, (shape[2] - 1) // step[2] + 1
    boundary[:] = False
    total, block = _U(nx * ny * nz), _U(0)
    for entry in windows:
        if entry & _U(1):
            run, content = entry >> _U(1), _U(0)
        else:
            run, content = _U(1), entry >> _U(1)
        if run > total - block:
            return 2
        if contents.size:
            if content >= _U(contents.size):
                return 1
            bits = contents[content]
            if bits:
                for each in range(block, block + run):
                    _mark_window(bits, boundary, shape, step, np.int64(each), nx, ny)
        block += run
    return 0 if block == total else 2


@kernel
def _mark_window(bits: Any, boundary: Any, shape: Any, step: Any, block: Any, nx: Any, ny: Any) -> None:
    x0, y0, z0 = block % nx * step[0], block // nx % ny * step[1], block // (nx * ny) * step[2]
    for z in range(z0, min(z0 + step[2], shape[2])):
        for y in range(y0, min(y0 + step[1], shape[1])):
            row, line = (z * shape[1] + y) * shape[0], ((z - z0) * step[1] + y - y0) * step[0] - x0
            for x in range(x0, min(x0 + step[0], shape[0])):
                boundary[row + x] = bits >> _U(line + x) & _U(1) != _U(0)


@kernel
def _fill(boundary: Any, components: Any, parents: Any, labels: Any, out: Any, shape: Any, three: Any) -> int:
    """Give each component its label; components are of one plane, unless there are ``three`` axes."""
    one, row, at = _U(1), _U(shape[0]), _U(0)
    count = np.uint32(1)
    for _z in range(shape[2]):
        for y in range(shape[1]):
            for x in range(shape[0]):
                if not boundary[at]:
                    above = y > 0 and not boundary[at - row]
                    if x > 0 and not boundary[at - one]:
                        here = components[at - one]
                        if above and components[at - row] != here:
                            join(parents, here, components[at - row])
                    elif above:
                        here = components[at - row]
                    else:
                        here = count
                        parents[count] = count
                        count += np.uint32(1)
                    components[at] = here
                at += one
    if three:
        _join_planes(boundary, components, parents, _U(shape[0] * shape[1]))
    if number(parents, count, 1) != labels.size + 1:
        return 3
    for place in range(at):
        if not boundary[place]:
            out[place] = labels[_U(parents[components[place]] - 1)]
    return 0


@kernel
def _join_planes(boundary: Any, components: Any, parents: Any, plane: Any) -> None:
    for at in range(plane, _U(boundary.size)):
        if not (boundary[at] or boundary[at - plane]) and components[at] != components[at - plane]:
            join(parents, components[at], components[at - plane])


@kernel
def _resolve(boundary: Any, locations: Any, out: Any, shape: Any, three: Any) -> Any:
    """Give each boundary voxel its label."""
    row, plane = shape[0], shape[0] * shape[1]
    at, read, damage = -1, 0, 0
    for z in range(shape[2]):
        for y in range(shape[1]):
            for x in range(shape[0]):
                at += 1
                if not boundary[at]:
                    continue
                if x > 0 and not boundary[at - 1]:
                    out[at] = out[at - 1]
                elif y > 0 and not boundary[at - row]:
                    out[at] = out[at - row]
                elif three and z > 0 and not boundary[at - plane]:
                    out[at] = out[at - plane]
                else:
                    read, damage = _locate(locations, read, boundary, out, at, (x, y, z), shape)
                    if damage:
                        return damage
    return 0 if read == locations.size else 5


@kernel
def _locate(locations: Any, read: Any, boundary: Any, out: Any, at: Any, voxel: Any, shape: Any) -> Any:
    """Give one voxel its label; return what is to be read next, and what is damaged.

    A location up to 5 is the neighbour that has the same label; after 6 follows a label; a greater one is a label
    and 7.
    """
    where = locations[read] if read < locations.size else _U(6)
    if where > _U(6):
        out[at] = where - _U(7)
        return read + 1, 0
    if where == _U(6):
        if read + 1 >= locations.size:
            return read, 5
        out[at] = locations[read + 1]
        return read + 2, 0
    distance = _distance(where, voxel, shape)
    if distance == 0 or (distance > 0 and boundary[at + distance]):
        return read, 4
    out[at] = out[at + distance]
    return read + 1, 0


@kernel
def _distance(where: Any, voxel: Any, shape: Any) -> Any:
    """Return how far away the neighbour at a location is in memory; 0: outside of the chunk."""
    axis, forward = where >> _U(1), bool(where & _U(1))
    if axis == _U(0):
        place, size, step = voxel[0], shape[0], 1
    elif axis == _U(1):
        place, size, step = voxel[1], shape[1], shape[0]
    else:
        place, size, step = voxel[2], shape[2], shape[0] * shape[1]
    if forward:
        return step if place < size - 1 else 0
    return -step if place > 0 else 0


@kernel
def _written(locations: Any) -> Any:
    """Return the labels that are written among the locations."""
    found, count, follows = np.empty(locations.size, np.uint64), 0, False
    for where in locations:
        if follows or where > _U(6):
            found[count] = where if follows else where - _U(7)
            count += 1
        follows = not follows and where == _U(6)
    return found[:count]
