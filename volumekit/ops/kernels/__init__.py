"""Downsampling: every cell of ``factor`` voxels becomes one voxel.

Cells sit on multiples of the factor in global coordinates, whatever the origin of the array: the result
covers ``[floor(min / f), ceil(max / f))`` along every axis, and a partial cell, at either end, stands for the
voxels it has.

Compiled kernels are used where numba is installed, NumPy elsewhere; both give the same bits, and the bits of
TensorStore's ``downsample`` driver for the methods it has (see `downsample` for what that means for floats, of which
it adds any number in their own type).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from volumekit.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GAUSSIAN_RADIUS", "METHODS", "downsample", "downsample_gaussian"]

METHODS = ("mean", "mode", "median", "nearest", "min", "max", "gaussian", "sparse_mean", "sparse_mode")
"""Names of the methods."""

GAUSSIAN_RADIUS = 2
"""How many neighbours on each side `downsample_gaussian` looks at, in voxels."""


def downsample(
    array: NDArray[Any],
    factor: Sequence[int],
    *,
    method: str,
    origin: Sequence[int] = (0, 0, 0),
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """Reduce an array by an integer factor along each axis.

    Parameters
    ----------
    array : numpy.ndarray
        (x, y, z) or (x, y, z, channel), any memory order, integer, float or bool. It is copied only if no axis is
        contiguous, if its byte order is foreign, or for ``mode``, ``median`` and ``sparse_mode`` of
        floats.
    factor : sequence of int
        (x, y, z), each positive.
    method : str
        One of `METHODS`:

        ``mean``
            Integers: the exact sum, divided and rounded half to even. Floats: summed in memory order, in their own
            type (float16 in float32), in cells of more than eight voxels in float64, then divided; NaN propagates.
        ``mode``
            The most frequent value; among equally frequent ones the smallest.
        ``median``
            The lower of the two middle values where the count is even.
        ``nearest``
            The voxel at the cell's lowest coordinate. A leading partial cell has lost that one and takes the
            first voxel it has (TensorStore's ``stride`` drops such cells).
        ``min``, ``max``
            NaN is ignored; a cell of NaN alone is inf, or -inf for ``max``.
        ``sparse_mean``, ``sparse_mode``
            Of what is not zero alone: ``mean`` over those voxels, and the most frequent value among them. Zero
            only where there is nothing else. That is what tinybrain calls sparse, but for three things: it cuts
            means off where we round, among equally frequent labels it takes any where we take the smallest, and
            it has this for some types and factors only.
        ``gaussian``
            `downsample_gaussian` without neighbours: the array's edges are the volume's.

        In ``mode``, ``sparse_mode`` and ``median`` all NaN are one value, above every number, and zero is always +0;
        TensorStore's answer for cells with NaN or zeros of both signs depends on their order.
    origin : sequence of int
        (x, y, z), the global voxel coordinate of ``array[0, 0, 0]``; may be negative.
    out : numpy.ndarray, optional
        Where to put the result: its shape, the array's dtype, not overlapping the array.
    threads : int
        How many threads to use at once; the result does not depend on it.

    Returns
    -------
    numpy.ndarray
        ``out``, or a new array of the array's dtype (in native byte order), number of axes and memory order.

    Raises
    ------
    OptionError
        If ``factor``, ``method``, ``origin`` or ``threads`` is impossible, or ``out`` cannot be written.
    ShapeError
        If ``array`` has other than three or four axes, or ``out`` another shape than the result.
    CastError
        If ``out`` has another dtype.
    UnsupportedError
        If ``array`` holds neither integers nor floats of at most 64 bits.
    """
    from volumekit.ops.kernels import gaussian, reduce

    if method not in METHODS:
        raise OptionError(f"unknown downsampling method {method!r}; there are {', '.join(METHODS)}")
    if _is_bool(array):
        numbers, into = _numbers(array, out)
        made = downsample(numbers, factor, method=method, origin=origin, out=into, threads=threads)
        return made.view(bool) if out is None else out
    if method == "gaussian":
        return gaussian.downsample(array, factor, origin=origin, halo=((0, 0),) * 3, out=out, threads=threads)
    return reduce.downsample(array, factor, method=method, origin=origin, out=out, threads=threads)


def downsample_gaussian(
    array: NDArray[Any],
    factor: Sequence[int],
    *,
    origin: Sequence[int] = (0, 0, 0),
    halo: Sequence[tuple[int, int]] = ((0, 0), (0, 0), (0, 0)),
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """Smooth an array with a Gaussian, then average each cell.

    The filter (sigma 0.5, cut at `GAUSSIAN_RADIUS`) runs in float64 along z, y and x, skipping axes whose
    factor is 1. A partial cell at the volume's edge is first filled by repeating the edge voxel; beyond that
    the volume is mirrored without repeating its edge. Integers are rounded half to even and clipped to the
    range of their type; 64-bit integers beyond 2**53 are approximated. For factor 2 this is what
    ``skimage.transform.rescale(volume, 0.5)`` does, and scroll2zarr with each of its blocks.

    Computed block by block with real neighbours the result is bit for bit that of the whole volume: give each
    block `GAUSSIAN_RADIUS` neighbours on each side, or as many as the volume has there.

    Parameters
    ----------
    array : numpy.ndarray
        (x, y, z) or (x, y, z, channel), any memory order, halo included.
    factor : sequence of int
        (x, y, z), each from 1 to 64.
    origin : sequence of int
        (x, y, z), the global voxel coordinate of ``array[0, 0, 0]``, halo included; may be negative.
    halo : sequence of (int, int)
        For each of x, y, z: how many voxels at the low and at the high side are neighbours, used for
        filtering but not part of the result. Fewer than `GAUSSIAN_RADIUS` means that the volume ends with
        the array.
    out : numpy.ndarray, optional
        Where to put the result: its shape, the array's dtype, not overlapping the array.
    threads : int
        How many threads to use at once; the result does not depend on it.

    Returns
    -------
    numpy.ndarray
        As from `downsample`, for the voxels inside the halo.

    Raises
    ------
    AlignmentError
        If a side with neighbours does not lie on a multiple of the factor.
    OptionError, ShapeError, CastError, UnsupportedError
        As from `downsample`; OptionError also if the halo does not fit into the array.
    """
    from volumekit.ops.kernels import gaussian

    if _is_bool(array):
        numbers, into = _numbers(array, out)
        made = gaussian.downsample(numbers, factor, origin=origin, halo=halo, out=into, threads=threads)
        return made.view(bool) if out is None else out
    return gaussian.downsample(array, factor, origin=origin, halo=halo, out=out, threads=threads)


def _is_bool(array: NDArray[Any]) -> bool:
    return getattr(getattr(array, "dtype", None), "kind", None) == "b"


def _numbers(array: NDArray[Any], out: NDArray[Any] | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """See truth values as the numbers 0 and 1, which every method turns into 0 and 1."""
    return array.view("u1"), out.view("u1") if out is not None and _is_bool(out) else out
