"""Stacks of two-dimensional images: a folder, a pattern, a multi-page TIFF, or one image.

z is the position in the natural order of the file names, or the number in the name. What kinds of images
there are, and what becomes of colours, palettes and single bits, is said in `codecs.images`.
"""

from __future__ import annotations

from volumekit.formats.stack.format import Stack

__all__ = ["Stack"]
