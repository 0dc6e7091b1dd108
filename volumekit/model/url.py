"""Where a dataset is: parsing what users type, and writing it in one canonical way."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Self

from volumekit.errors import InvalidURLError, UnknownProtocolError

ALIASES = {"neuroglancer-precomputed": "precomputed"}
"""Neuroglancer's names of formats that have another name here."""

OTHER_NAMES = {"gcs": "gs", "s3a": "s3"}
"""Names that other programs have for storages."""

BUCKETS = ("s3", "gs")
HOSTS = ("http", "https")
PROTOCOLS = ("file", "memory", *BUCKETS, *HOSTS)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_PIPELINE = re.compile(r"(.*)\|([A-Za-z][A-Za-z0-9+.-]*):([^|]*)", re.DOTALL)
_ENDPOINT = re.compile(r"(https?://[^/]+)/*(.*)", re.DOTALL)


@dataclass(frozen=True)
class URL:
    """The place of a dataset, and its format if that was said.

    Attributes
    ----------
    format : str or None
        Name of the format; None: look at what is there.
    protocol : str
        ``file``, ``s3``, ``gs``, ``http``, ``https``, ``memory`` or any other name, in lower case.
    path : str
        Without a trailing slash. Absolute for files, ``bucket/key`` for s3 and gs, ``host/path`` for http.
    endpoint : str or None
        ``http://host:port`` of a server that speaks the protocol, for s3 and gs.
    query : str or None
        What follows ``?``, for http and https.
    chain : str or None
        What follows ``::``, in fsspec's chained URLs: the archive that ``path`` lies in
        (``zip://volume::s3://bucket/archive.zip``).

    Notes
    -----
    ``str(url)`` is canonical, ``precomputed://file:///data/image``: parsing it gives an equal URL.
    """

    format: str | None
    protocol: str
    path: str
    endpoint: str | None = None
    query: str | None = None
    chain: str | None = None

    def __str__(self) -> str:
        return self.kvpath if self.format is None else f"{self.format}://{self.kvpath}"

    @property
    def kvpath(self) -> str:
        """The URL without the format."""
        endpoint = "" if self.endpoint is None else f"{self.endpoint}/"
        query = "" if self.query is None else f"?{self.query}"
        chain = "" if self.chain is None else f"::{self.chain}"
        return f"{self.protocol}://{endpoint}{self.path}{query}{chain}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    @property
    def base(self) -> Self:
        """The directory above; the same URL at the top."""
        if not self._parts():
            return self
        above = posixpath.dirname(self.path)
        return replace(self, path=above if above == "/" else above.rstrip("/"))

    def join(self, sub: str) -> Self:
        """Return a place relative to this one; ``.`` and ``..`` are resolved.

        Raises
        ------
        InvalidURLError
            If it lies above the top: the bucket, the server, or the root of the files.
        """
        parts = self._parts()
        for part in sub.split("/"):
            if part == ".." and not parts:
                raise InvalidURLError(f"{sub!r} leads out of the top directory", url=str(self))
            if part == "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        top = self._top()
        path = "/".join(parts if top is None else [top, *parts])
        return replace(self, path=path or "/" if top == "" else path)

    def _top(self) -> str | None:
        """Return what stands before the first directory: the bucket or host; nothing for files; else None."""
        if self.protocol in (*BUCKETS, *HOSTS):
            return self.path.split("/", 1)[0]
        return "" if self.path.startswith("/") else None

    def _parts(self) -> list[str]:
        top = self._top()
        below = self.path if top is None else self.path[len(top) + 1 :]
        return below.split("/") if below else []


def parse_url(text: str | os.PathLike[str], formats: Collection[str] = ()) -> URL:
    """Parse a URL or a path.

    Parameters
    ----------
    text : str or os.PathLike
        - a path: taken literally, whatever characters it has, except that ``~`` is expanded and a relative
          path is made absolute;
        - ``protocol://path``; the path of ``file://`` is treated like a bare path, percent signs included;
        - ``s3://http://host:port/bucket/key``: a server of one's own;
        - ``zip://path/inside::place of the archive``, where the protocol is one of fsspec's;
        - ``format://`` before any of these, or Neuroglancer's ``|format:`` after it.
    formats : collection of str
        Names of formats.

    Raises
    ------
    InvalidURLError
        If this is none of these; the message says what was probably meant.
    UnknownProtocolError
        If it names a format that is not in ``formats``. Unknown protocols are left to the storage layer.
    """
    known = {*formats, *(alias for alias, name in ALIASES.items() if name in formats)}
    if not isinstance(text, str):
        return _parse_path(_checked(text))
    text = _checked(text)
    front, pipeline = _split_pipeline(text, known)
    prefix, rest = _split_format(front, known)
    if prefix and pipeline and prefix != pipeline[0]:
        raise InvalidURLError(f"{text!r} names two formats, {prefix} and {pipeline[0]}")
    url = replace(_parse_place(rest), format=prefix or (pipeline[0] if pipeline else None))
    if pipeline and url.protocol in HOSTS and set(pipeline[1]) & set("?#"):
        raise InvalidURLError(f"{text!r} has a '?' or '#' behind the format; write the query before '|'")
    found = url.join(pipeline[1]) if pipeline and pipeline[1] else url
    if url.path and not found.path and str(found).endswith("://"):
        raise InvalidURLError(f"{text!r} names no place: '..' leads out of it")
    return found


def closest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean '…'?"`` if one of the names is like ``name``, else an empty text."""
    match = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def _checked(text: str | os.PathLike[str]) -> str:
    try:
        text = os.fsdecode(text)
        text.encode()
    except (TypeError, UnicodeError) as error:
        raise InvalidURLError(f"not a URL or path: {text!r}") from error
    if not text.strip() or "\0" in text:
        raise InvalidURLError(f"not a URL or path: {text!r}; it is empty or holds a NUL character")
    return text


def _split_pipeline(text: str, formats: Collection[str]) -> tuple[str, tuple[str, str] | None]:
    """Split ``place|format:directory``."""
    match = _PIPELINE.fullmatch(text)
    if match is None:
        if "|" in text and text.rsplit("|", 1)[1].lower() in formats:
            raise InvalidURLError(f"{text!r} lacks a colon at the end; did you mean {text + ':'!r}?")
        return text, None
    front, name, sub = match[1], match[2].lower(), match[3]
    if _PIPELINE.fullmatch(front):
        raise InvalidURLError(f"{text!r}: only one '|format:' is understood")
    return front, (_format(name, formats), sub)


def _split_format(text: str, formats: Collection[str]) -> tuple[str | None, str]:
    """Split ``format://place``."""
    match = _SCHEME.fullmatch(text)
    if match is None:
        return None, text
    name, rest = match[1].lower(), match[2]
    inner = _SCHEME.match(rest)
    if name in formats:
        if inner and inner[1].lower() in formats:
            raise InvalidURLError(f"{text!r} names two formats")
        return _format(name, formats), _checked(rest)
    if inner and name not in PROTOCOLS:
        _format(name, formats)
    return None, text


def _format(name: str, formats: Collection[str]) -> str:
    if name not in formats:
        raise UnknownProtocolError(
            f"no format named {name!r}; known: {', '.join(sorted(formats))}{closest(name, formats)}"
        )
    return ALIASES.get(name, name)


def _parse_place(text: str) -> URL:
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _parse_path(text)
    protocol, rest = match[1].lower(), match[2]
    protocol = OTHER_NAMES.get(protocol, protocol)
    if protocol == "file":
        return _parse_file(_checked(rest))
    if protocol in BUCKETS:
        return _parse_bucket(protocol, rest)
    if protocol in HOSTS:
        return _parse_http(protocol, rest)
    if protocol == "memory":
        return URL(None, protocol, rest.strip("/"))
    return _parse_chain(text, protocol, rest)


def _parse_chain(text: str, protocol: str, rest: str) -> URL:
    """Parse what only fsspec knows: ``path``, or ``path::archive``."""
    path, mark, chain = rest.partition("::")
    path = path.rstrip("/")
    if not (chain or (path and not mark)):
        raise InvalidURLError(f"{text!r} names no place")
    if mark and "://" not in chain:
        chain = _parse_path(chain).path
    return URL(None, protocol, path, chain=chain if mark else None)


def _parse_path(text: str) -> URL:
    """Parse a bare path; refuse what is more likely a mistyped URL."""
    if not text.startswith(("/", ".", "~")):
        typo = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)(:/{0,1}|//)(?!/)", text)
        if typo and (typo[2] == ":/" or typo[1].lower() in (*BUCKETS, *HOSTS)):
            root = "/" if typo.group().lower() == "file:/" else ""
            fixed = f"{typo[1].lower()}://{root}{text[typo.end() :]}"
            raise InvalidURLError(f"not a URL: {text!r}; did you mean {fixed!r}? For a file write './{text}'")
        if "://" in text:
            raise InvalidURLError(f"not a URL: {text!r}; expected protocol://path. For a file write './{text}'")
    return _parse_file(text)


def _parse_file(path: str) -> URL:
    try:
        path = posixpath.abspath(posixpath.expanduser(path))
    except (OSError, RuntimeError) as error:
        raise InvalidURLError(f"cannot make {path!r} absolute: {error}") from error
    if _PIPELINE.fullmatch(path):
        raise InvalidURLError(f"the path {path!r} ends like a format, '|name:'; rename the file")
    return URL(None, "file", "/" + path.lstrip("/"))


def _parse_bucket(protocol: str, rest: str) -> URL:
    match = _ENDPOINT.fullmatch(rest)
    endpoint, path = (match[1], match[2]) if match else (None, rest)
    if not path.strip("/") or path.startswith("/") or _SCHEME.match(path):
        raise InvalidURLError(f"no bucket in '{protocol}://{rest}'; expected {protocol}://bucket/path")
    return URL(None, protocol, path.rstrip("/"), endpoint)


def _parse_http(protocol: str, rest: str) -> URL:
    place, mark, query = rest.partition("?")
    if not place.strip("/") or place.startswith("/") or _SCHEME.match(place):
        raise InvalidURLError(f"no server in '{protocol}://{rest}'; expected {protocol}://server/path")
    if "#" in rest:
        raise InvalidURLError(f"'{protocol}://{rest}' has a '#'; write it as %23, or leave out what follows it")
    return URL(None, protocol, place.rstrip("/"), query=query if mark else None)
