"""Codecs: the bytes of one chunk and its voxels. One codec a module; `get_codec` finds them by name."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from volumekit.errors import UnsupportedError
from volumekit.registry import Registry

if TYPE_CHECKING:
    from volumekit.codecs.base import Codec
    from volumekit.model.level import CodecSpec

__all__ = ["CODECS", "get_codec"]

CODECS = Registry(
    "volumekit.codecs",
    {
        "raw": "volumekit.codecs.raw:Raw",
        "jpeg": "volumekit.codecs.jpeg:Jpeg",
        "png": "volumekit.codecs.png:Png",
        "jxl": "volumekit.codecs.jxl:Jxl",
        "compressed_segmentation": "volumekit.codecs.compressed_segmentation:CompressedSegmentation",
        "compresso": "volumekit.codecs.compresso:Compresso[codecs]",
        "crackle": "volumekit.codecs.crackle:Crackle[codecs]",
        "fpzip": "volumekit.codecs.fpzip:Fpzip[codecs]",
        "kempressed": "volumekit.codecs.kempressed:Kempressed[codecs]",
        "zfpc": "volumekit.codecs.zfpc:Zfpc",
        "npz": "volumekit.codecs.npz:Npz",
        "npz_uint8": "volumekit.codecs.npz_uint8:NpzUint8",
    },
)
"""Codec classes by the name that formats give them."""


@functools.lru_cache(maxsize=256)
def get_codec(spec: CodecSpec) -> Codec:
    """Return the codec a level asks for; the same object for equal specs.

    Parameters
    ----------
    spec : CodecSpec
        Name and settings.

    Raises
    ------
    UnsupportedError
        If no codec has this name.
    MetadataError
        If a setting is missing or impossible.
    MissingExtraError
        If the codec needs a package that is not installed.
    """
    if spec.name not in CODECS:
        readable = ", ".join(sorted(CODECS))
        raise UnsupportedError(f"no codec for the encoding {spec.name!r}; readable encodings: {readable}")
    codec: Codec = CODECS[spec.name].from_settings(spec.settings)
    return codec
