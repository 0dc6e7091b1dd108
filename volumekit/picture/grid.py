"""Chunk grids as drawings: a box in true proportions, with a line where one chunk ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

LONGEST = 120.0
"""Pixels of the longest side."""

THINNEST = 0.08
"""The shortest side that is drawn, as a share of the longest."""

MOST_LINES = 24
"""Across one side; of more chunks only some are drawn."""

_SLANT = 0.5
"""What a pixel of depth is drawn as, rightwards and upwards."""

Line = tuple[float, float, float, float]


def grid_svg(lengths: Sequence[float], counts: Sequence[int]) -> str:
    """Return a drawing of a box of chunks: x runs rightwards, y downwards, z backwards.

    Parameters
    ----------
    lengths : sequence of float
        Physical lengths of the box along x, y and z, in any unit.
    counts : sequence of int
        Chunks along x, y and z.

    Returns
    -------
    str
        An ``<svg>`` element in the colour of the text around it.
    """
    longest = max(lengths) or 1
    w, h, d = (LONGEST * max(length / longest, THINNEST) for length in lengths)
    d *= _SLANT
    outline = f"M0,{d:.1f} l{d:.1f},{-d:.1f} h{w:.1f} v{h:.1f} l{-d:.1f},{d:.1f} h{-w:.1f} z"
    inner = f"M0,{d:.1f} h{w:.1f} v{h:.1f} m0,{-h:.1f} l{d:.1f},{-d:.1f}"
    lines = " ".join(f"M{a:.1f},{b:.1f} L{c:.1f},{e:.1f}" for a, b, c, e in _lines(w, h, d, counts))
    return (
        f'<svg width="{w + d + 4:.0f}" height="{h + d + 4:.0f}" viewBox="-2 -2 {w + d + 4:.1f} {h + d + 4:.1f}"'
        f' fill="none" stroke="currentColor"><path d="{lines}" stroke-opacity="0.3"/>'
        f'<path d="{outline} {inner}" stroke-width="1.5"/></svg>'
    )


def _lines(w: float, h: float, d: float, counts: Sequence[int]) -> Iterator[Line]:
    """Yield the lines between chunks on the three sides one sees."""
    across, down, back = counts
    for x in _places(across, w):
        yield x, d, x, d + h
        yield x, d, x + d, 0
    for y in _places(down, h):
        yield 0, d + y, w, d + y
        yield w, d + y, w + d, y
    for z in _places(back, d):
        yield z, d - z, w + z, d - z
        yield w + z, d - z, w + z, d - z + h


def _places(count: int, length: float) -> Iterator[float]:
    step = -(-count // MOST_LINES) or 1
    return (length * n / count for n in range(step, count, step))
