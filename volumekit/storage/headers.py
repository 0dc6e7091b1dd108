"""What object stores keep beside the bytes: content type, encoding, and how long others may cache them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from volumekit.codecs.compression import compress
from volumekit.errors import OptionError, UnsupportedError

ENCODINGS = ("gzip", "br", "zstd")
"""Compressions that every HTTP client undoes by itself (Content-Encoding)."""

BYTES = "application/octet-stream"
JSON = "application/json"


@dataclass(frozen=True)
class Headers:
    """How an object is stored.

    Attributes
    ----------
    content_type : str
        What the bytes are.
    cache_control : str, optional
        How long browsers and networks may keep a copy.
    encoding : str, optional
        One of `ENCODINGS`: stored compressed, and decompressed by whoever reads it.
    level : int, optional
        Compression level.
    required : bool
        Whether storing without them is an error; else they are left out where sending them needs a package that is not
        installed.
    """

    content_type: str = BYTES
    cache_control: str | None = None
    encoding: str | None = None
    level: int | None = None
    required: bool = True

    def __post_init__(self) -> None:
        if self.encoding not in (None, *ENCODINGS):
            raise OptionError(
                f"object stores keep {', '.join(ENCODINGS)}, not {self.encoding!r}: web clients understand no other"
                " Content-Encoding"
            )


class Headed(bytes):
    """The bytes of an object, with the headers to store them with; whoever knows no headers sees plain bytes."""

    headers: Headers

    def __new__(cls, data: bytes, headers: Headers) -> Self:
        """Copy the bytes, which cannot be given anything more once they are made."""
        self = super().__new__(cls, data)
        self.headers = headers
        return self

    def packed(self) -> bytes:
        """Return the bytes as they are stored."""
        encoding = self.headers.encoding
        return self if encoding is None else compress(self, encoding, self.headers.level)


def cache_control(cdn_cache: bool | int | str | None) -> str | None:
    """Return the ``Cache-Control`` header that CloudVolume's option ``cdn_cache`` asks for.

    Parameters
    ----------
    cdn_cache : bool, int, str or None
        False or 0: nobody may use a copy without asking; True: an hour; a number of seconds; or the header itself.
        None: no header.

    Raises
    ------
    OptionError
        If it is none of these.
    """
    if cdn_cache is None or isinstance(cdn_cache, str):
        if cdn_cache is not None and not (cdn_cache.strip() and cdn_cache.isascii() and cdn_cache.isprintable()):
            raise OptionError(f"cdn_cache is {cdn_cache!r}, which cannot be sent as a header")
        return cdn_cache
    if not isinstance(cdn_cache, int) or cdn_cache < 0:
        raise OptionError(f"cdn_cache is {cdn_cache!r}; it is True, False, seconds, or a Cache-Control header")
    seconds = 3600 if cdn_cache is True else int(cdn_cache)
    return f"public, max-age={seconds}" if seconds else "no-cache"


def content_encoding(header: str | None) -> str | None:
    """Return how an object is compressed, by its Content-Encoding; ``aws-chunked`` only says how it was sent.

    Raises
    ------
    UnsupportedError
        If it is none of `ENCODINGS`.
    """
    found = [part.strip().lower() for part in (header or "").split(",")]
    found = [part.removeprefix("x-") for part in found if part not in ("", "identity", "aws-chunked")]
    if not found:
        return None
    if len(found) > 1 or found[0] not in ENCODINGS:
        raise UnsupportedError(f"an object with the Content-Encoding {header!r}, which nothing here undoes")
    return found[0]
