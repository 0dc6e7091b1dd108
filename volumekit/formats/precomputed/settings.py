"""What a new scale may say of its encoding. Scales that others wrote may say anything: what nobody knows is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from volumekit.codecs import CODECS, get_codec
from volumekit.errors import MissingExtraError, OptionError
from volumekit.formats.precomputed.info import SETTINGS, Info, parse_levels
from volumekit.model.level import CodecSpec
from volumekit.model.plain import plain
from volumekit.model.url import closest

_LEVELS = {"jpeg": "jpeg_quality", "png": "png_level", "jxl": "jxl_quality", "fpzip": "fpzip_precision"}
_EFFORTS = {"jxl": "jxl_effort"}
_MEMBERS = ("key", "size", "voxel_offset", "resolution", "chunk_sizes", "encoding", "sharding", "hidden", "locked")
_ARGUMENTS = ("chunk_size", "encoding_level", "encoding_effort", "mesh", "skeletons", "max_mip", "factor", "redirect")
_EXACT = {"jxl": "jxl_quality 100", "fpzip": "fpzip_precision 0", "zfpc": "no rate, precision or tolerance"}


def encoding_settings(encoding: str, level: int | None, effort: int | None) -> Info:
    """Return the members of a scale that cloud-volume's ``encoding_level`` and ``encoding_effort`` stand for.

    Parameters
    ----------
    encoding : str
        The scale's encoding.
    level : int, optional
        ``jpeg_quality``, ``png_level``, ``jxl_quality`` or ``fpzip_precision``.
    effort : int, optional
        ``jxl_effort``.

    Raises
    ------
    OptionError
        If this encoding has no such setting.
    """
    settings: Info = {}
    value: Any
    for option, value, names in (("encoding_level", level, _LEVELS), ("encoding_effort", effort, _EFFORTS)):
        if value is None:
            continue
        if encoding not in names:
            raise OptionError(f"the encoding {encoding} has no {option}; its settings: {_names(encoding)}")
        number = plain(value)
        settings[names[encoding]] = int(number) if isinstance(number, float) and number.is_integer() else number
    return settings


def check_members(encoding: str, members: Iterable[str]) -> None:
    """Refuse what nobody would ever look at in a new scale: mostly a slip of the pen.

    Parameters
    ----------
    encoding : str
        The scale's encoding.
    members : iterable of str
        Names of what was asked for.

    Raises
    ------
    OptionError
        If there is no such encoding, or it has no such setting; the message names the nearest.
    """
    if encoding not in CODECS:
        raise OptionError(
            f"there is no encoding {encoding!r}{_meant(str(encoding), CODECS)} There are {', '.join(CODECS)}"
        )
    for name in members:
        if name in _MEMBERS or name in SETTINGS.get(encoding, ()):
            continue
        others = [setting for names in SETTINGS.values() for setting in names]
        if name in others:
            raise OptionError(f"the encoding {encoding} has no {name}; its settings: {_names(encoding)}")
        near = _meant(name, [*SETTINGS.get(encoding, ()), *_ARGUMENTS, *_MEMBERS, *others])
        raise OptionError(f"a scale has no {name!r}{near} Settings of {encoding}: {_names(encoding)}")


def check_labels(info: Mapping[str, Any]) -> None:
    """Refuse to make a segmentation in an encoding, or of a data type, that would make other labels of its labels.

    Raises
    ------
    OptionError
        If the info describes one.
    """
    if info.get("type") != "segmentation":
        return
    for level in parse_levels(info):
        if level.dtype.kind == "f":
            raise OptionError(f"a segmentation holds whole numbers, not {level.dtype}; choose uint32, or an image")
        if level.error is None and _loses(level.codec):
            name = level.codec.name
            exact = f"{name} with {_EXACT[name]}" if name in _EXACT else "compressed_segmentation"
            raise OptionError(
                f"{name} as asked for changes values, and a segmentation's are labels; "
                f"choose {exact} or another lossless encoding"
            )


def _loses(codec: CodecSpec) -> bool:
    try:
        return codec.name in CODECS and not get_codec(codec).lossless
    except MissingExtraError:
        return False


def _names(encoding: str) -> str:
    return ", ".join(SETTINGS.get(encoding, ())) or "none"


def _meant(name: str, names: Iterable[str]) -> str:
    return closest(name, names) or "."
