"""A plane of cracks as bits, and the components between them: parts of the compiled kernels that decode crackle.

A corner of voxels has two bits, in two sets: one for the crack that goes down from it, one for that to the right. They
are at the place of the voxel that the crack lies before, or above. Rows begin at whole words and are longer than the
plane is wide; there is one more above it, and two below. So one comparison tells whether a walk is still in memory, and
what it left outside of the plane is found when it has ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from volumekit.codecs.components import join, number
from volumekit.compiled import inlined, kernel

_U = np.uint64
_NONE, _ONE, _ALL = _U(0), _U(1), _U(2**64 - 1)
WORD = 64
"""Corners in a word."""
_PAIRS, _QUADS, _BYTES, _EACH = (_U(int(pattern * 8, 16)) for pattern in ("55", "33", "0f", "01"))


@inlined
def row_words(size: Any) -> Any:
    """Return the words of a row of a plane of (x, y) voxels."""
    return size[0] // WORD + 1


@inlined
def row_count(size: Any) -> Any:
    """Return the rows of a plane of (x, y) voxels."""
    return size[1] + 3


@kernel
def strayed(down: Any, right: Any, size: Any) -> Any:
    """Tell whether there are cracks outside of the plane.

    A walk that leaves it at the top or at the bottom goes down or up there, one that leaves it at a side right or left.
    """
    words, last = row_words(size), size[0] // WORD
    found = _NONE
    for word in range(words):
        found |= down[word] | down[words * (size[1] + 1) + word]
    beyond = _ALL << _U(size[0] % WORD)
    for row in range(1, size[1] + 2):
        found |= right[words * row + last] & beyond
    return found != _NONE


@kernel
def connect(down: Any, right: Any, permissible: Any, parents: Any, size: Any) -> Any:
    """Make one component of voxels with no crack between them; return how many there are.

    Runs of voxels of a row with no crack between them are numbered along the raster, and joined with those above.

    Parameters
    ----------
    down, right : numpy.ndarray
        The cracks; ``down`` becomes where runs begin.
    permissible : bool
        Whether bits are where voxels are connected, rather than where they are not.
    parents : numpy.ndarray
        uint32, one for each voxel; takes the component of each run.
    size : tuple of int
        (x, y) voxels.
    """
    words, within = _U(row_words(size)), (_ONE << _U(size[0] % WORD)) - _ONE
    closed, opened = (_ALL, _NONE) if permissible else (_NONE, _ALL)
    at, above, count = words, _NONE, _NONE
    for row in range(size[1]):
        first = count
        for word in range(words):
            mask = within if word + _ONE == words else _ALL
            begin = (down[at] ^ closed) & mask
            if word == _NONE:
                begin |= _ONE
            down[at] = begin
            ways = (right[at] ^ opened) & mask if row else _NONE
            above, count = _join_runs(begin, down[at - words], ways, above, count, parents)
            at += _ONE
        above = first
    return number(parents, np.uint32(count), np.uint32(0))


@inlined
def _join_runs(begin: Any, begin_above: Any, ways: Any, above: Any, count: Any, parents: Any) -> Any:
    """Join the runs of a word with those above, where there are ways; return the number after the last of both."""
    rest = begin | begin_above
    while True:
        bit = rest & (~rest + _ONE)
        if ways & (bit - _ONE) and parents[count - _ONE] != parents[above - _ONE]:
            join(parents, np.uint32(count - _ONE), np.uint32(above - _ONE))
        if bit == _NONE:
            return above, count
        ways &= ~(bit - _ONE)
        rest ^= bit
        if begin & bit:
            parents[count] = count
            count += _ONE
        if begin_above & bit:
            above += _ONE


@kernel
def paint(
    begins: Any, parents: Any, labels: Any, columns: Any, rows: Any, out: Any, step: Any, sums: Any, weights: Any
) -> None:
    """Give the voxels of a plane the labels of their components, which `connect` left, run by run.

    Parameters
    ----------
    begins, parents : numpy.ndarray
        Where runs begin, and their components.
    labels : numpy.ndarray
        Of each component.
    columns : numpy.ndarray
        For each x, and past the last one, how many of the voxels before it are wanted.
    rows : numpy.ndarray
        For each y where it begins in ``out``, or -1 if it is not wanted.
    out : numpy.ndarray
        Memory that holds the voxels that are wanted.
    step : int
        From one of them to the next in x.
    sums, weights : numpy.ndarray
        `crackle_checksums.power_sums` of the plane's size, and what adds up those of each component.
    """
    size, words = _U(columns.size - 1), _U((columns.size - 1) // WORD + 1)
    at, run, before = words, _NONE, _U(sums.size - 1)
    for y in range(rows.size):
        line, start = rows[y], _NONE
        component = parents[run]
        for word in range(words):
            rest = begins[at]
            at += _ONE
            if word == _NONE:
                rest ^= _ONE
                run += _ONE
            while rest:
                end = word * _U(WORD) + _ones((rest & (~rest + _ONE)) - _ONE)
                weights[component] ^= sums[before - start] ^ sums[before - end]
                if line >= 0:
                    _write(out[line:], columns[start], columns[end], step, labels[component])
                start, component = end, parents[run]
                run += _ONE
                rest &= rest - _ONE
        weights[component] ^= sums[before - start] ^ sums[before - size]
        before -= size
        if line >= 0:
            _write(out[line:], columns[start], columns[size], step, labels[component])


@inlined
def _write(row: Any, start: Any, end: Any, step: Any, label: Any) -> None:
    if step == _ONE:
        for x in range(start, end):
            row[x] = label
    else:
        for x in range(start, end):
            row[x * step] = label


@inlined
def _ones(bits: Any) -> Any:
    """Count the bits that are set; the compiler knows this way of doing it, and takes one instruction."""
    bits -= bits >> _U(1) & _PAIRS
    bits = (bits & _QUADS) + (bits >> _U(2) & _QUADS)
    return ((bits + (bits >> _U(4)) & _BYTES) * _EACH) >> _U(56)
