"""Hypothesis strategies for the field's values; they need hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from volumekit.model.bbox import Bbox
from volumekit.testing.datasets import Layout


@st.composite
def layouts(
    draw: st.DrawFn,
    *,
    dtypes: Sequence[str] = ("uint8", "uint16", "uint64", "float32"),
    channels: Sequence[int] = (1, 2, 3),
    chunk: tuple[int, int, int] | None = None,
    largest: int = 20,
    far: int = 1 << 40,
) -> Layout:
    """Return layouts of small volumes.

    Parameters
    ----------
    draw : callable
        Hypothesis gives it.
    dtypes : sequence of str
        Data types to choose from.
    channels : sequence of int
        Numbers of channels to choose from.
    chunk : tuple of int, optional
        Chunk size, (x, y, z), for formats that allow few; default: any up to ``largest``.
    largest : int
        Most voxels along an axis.
    far : int
        Largest distance of the lowest voxel from 0 along an axis; 0 where a format has no offset.
    """
    sizes, starts = st.integers(1, largest), st.integers(-far, far)
    return Layout(
        shape=draw(st.tuples(sizes, sizes, sizes)),
        chunk=chunk or draw(st.tuples(sizes, sizes, sizes)),
        offset=draw(st.tuples(starts, starts, starts)),
        dtype=draw(st.sampled_from(list(dtypes))),
        channels=draw(st.sampled_from(list(channels))),
    )


@st.composite
def boxes(draw: st.DrawFn, within: Bbox) -> Bbox:
    """Return boxes inside a box, half-open, none of them empty.

    Parameters
    ----------
    draw : callable
        Hypothesis gives it.
    within : Bbox
        Whole voxels, (x, y, z), half-open; not empty.
    """
    low, high = [], []
    for start, stop in zip(within.minpt.tolist(), within.maxpt.tolist(), strict=True):
        low.append(draw(st.integers(start, stop - 1)))
        high.append(draw(st.integers(low[-1] + 1, stop)))
    return Bbox(low, high)
