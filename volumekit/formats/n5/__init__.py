"""N5 datasets and multiscale groups."""

from volumekit.formats.n5.n5 import N5

__all__ = ["N5"]
