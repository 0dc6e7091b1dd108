"""How blocks of N5 are compressed: the ``compression`` of a dataset.

Sources: the N5 file-system specification, n5-blosc and n5-zstandard; what z5 and TensorStore write.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from volumekit.codecs.compression import compress, decompress
from volumekit.errors import CorruptChunkError, MetadataError, OptionError, UnsupportedError
from volumekit.formats.arrays.document import Document, member, whole
from volumekit.formats.n5.lz4 import lz4_compress, lz4_decompress
from volumekit.formats.zarr.codec import numcodec, unpack

TYPES = ("raw", "gzip", "bzip2", "xz", "lz4", "blosc", "zstd")
CNAMES = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")

_LZ4_BLOCKS = (1 << 6, 1 << 25)
_NUMBERS: Mapping[str, Mapping[str, tuple[int, int, int]]] = {
    "gzip": {"level": (-1, -1, 9)},
    "bzip2": {"blockSize": (9, 1, 9)},
    "xz": {"preset": (6, 0, 9)},
    "lz4": {"blockSize": (65536, 1, 1 << 31)},
    "blosc": {"clevel": (6, 0, 9), "shuffle": (0, 0, 2), "blocksize": (0, 0, 1 << 31)},
    "zstd": {"level": (3, -(1 << 17), 22)},
}
"""Settings that are numbers: what they are if nothing is said, the least and the most."""


@dataclass(frozen=True)
class Compression:
    """A compression and its settings, checked.

    Attributes
    ----------
    name : str
        One of `TYPES`, or a name that nobody here knows.
    settings : Mapping
        As N5 spells them, all given.
    document : str
        The metadata, for messages.
    """

    name: str
    settings: Mapping[str, Any]
    document: str = "attributes.json"

    def require(self) -> None:
        """Raise UnsupportedError if nothing here decodes it."""
        if self.name not in TYPES:
            known = ", ".join(TYPES)
            told = f"no codec for the compression {self.name!r}, which {self.document} asks for; readable: {known}"
            raise UnsupportedError(told, key=self.document)

    def native(self) -> Document | None:
        """Return how TensorStore spells it, None if it does not have it."""
        if self.name not in TYPES or self.name == "lz4" or self.settings.get("cname") == "snappy":
            return None
        return {"type": self.name, **self.settings}

    @functools.cached_property
    def _blosc(self) -> Any:
        names = ("cname", "clevel", "shuffle", "blocksize")
        return numcodec("blosc", {name: self.settings[name] for name in names}, self.document)

    def decompress(self, data: memoryview, size: int) -> Any:
        """Return the bytes of a block's values.

        Parameters
        ----------
        data : memoryview
            What follows the header, possibly damaged.
        size : int
            Bytes that come out; no more are made.

        Raises
        ------
        CorruptChunkError
            If they do not decompress to that many.
        """
        out = self._decompressed(data, size)
        if len(out) != size:
            raise CorruptChunkError(f"the {self.name} data hold {len(out)} bytes, where the header says {size}")
        return out

    def _decompressed(self, data: memoryview, size: int) -> Any:
        if self.name == "raw":
            return data
        if self.name == "lz4":
            return lz4_decompress(bytes(data), size)
        if self.name == "blosc":
            return memoryview(unpack("blosc", self._blosc, data, size)).cast("B")
        if self.name == "gzip" and self.settings["useZlib"]:
            return unpack("zlib", None, data, size)
        return decompress(bytes(data), {"bzip2": "bz2"}.get(self.name, self.name), limit=size)

    def compress(self, values: Any) -> bytes:
        """Compress the values of a block, a one-dimensional array."""
        settings, data = self.settings, values.tobytes() if self.name != "blosc" else b""
        if self.name == "raw":
            return bytes(data)
        if self.name == "blosc":
            return bytes(self._blosc.encode(values))
        if self.name == "lz4":
            least, most = _LZ4_BLOCKS
            return lz4_compress(data, min(max(settings["blockSize"], least), most))
        if self.name == "gzip":
            return _deflate(data, settings["level"], zlib_header=settings["useZlib"])
        if self.name == "bzip2":
            return compress(data, "bz2", settings["blockSize"])
        level = settings["preset"] if self.name == "xz" else max(1, settings["level"])
        return compress(data, self.name, level)


def _deflate(data: bytes, level: int, *, zlib_header: bool) -> bytes:
    if level > 0 and not zlib_header:
        return compress(data, "gzip", level)
    stream = zlib.compressobj(level, zlib.DEFLATED, 15 if zlib_header else 31)
    return stream.compress(data) + stream.flush()


def parse_compression(attributes: Mapping[str, Any], key: str) -> Compression:
    """Return the compression of a dataset.

    Parameters
    ----------
    attributes : Mapping
        Of the dataset; very old ones have a ``compressionType``.
    key : str
        Their key.

    Raises
    ------
    MetadataError
        If there is none, or a setting is impossible.
    """
    given = attributes.get("compression")
    if given is None:
        given = {"type": attributes.get("compressionType")}
    given = {"type": given} if isinstance(given, str) else member(given, "compression", key)
    name = given.get("type")
    if not isinstance(name, str):
        raise MetadataError(f"compression in {key} has no type", key=key)
    name = {"zstandard": "zstd", "lzma": "xz"}.get(name, name)
    return Compression(name, _settings(name, given, key), key)


def _settings(name: str, given: Mapping[str, Any], key: str) -> Document:
    found: Document = {}
    for setting, (usual, least, most) in _NUMBERS.get(name, {}).items():
        value = given.get(setting, usual)
        found[setting] = whole(value, f"{setting} of {name}", key, least=least, most=most)
    if name == "gzip":
        found["useZlib"] = given.get("useZlib", False)
        if not isinstance(found["useZlib"], bool):
            raise MetadataError(f"useZlib in {key} is {found['useZlib']!r}, neither true nor false", key=key)
    if name == "blosc":
        found = {"cname": given.get("cname", "blosclz"), **found}
        if found["cname"] not in CNAMES:
            raise MetadataError(f"cname in {key} is {found['cname']!r}; it is one of {', '.join(CNAMES)}", key=key)
    return found


def compression_of(given: str | Mapping[str, Any] | None) -> Document:
    """Return the ``compression`` of a new dataset.

    Parameters
    ----------
    given : str, Mapping or None
        ``"gzip"``, ``"zstd"``, ``"blosc"``, ``"bzip2"``, ``"xz"``, ``"lz4"``, each with a level behind a colon if
        wanted (``"zstd:5"``, ``"blosc:zstd:5"``); ``"raw"``, ``"none"`` or None for none; or a configuration as the
        metadata have it.

    Raises
    ------
    OptionError
        If there is no such compression.
    """
    named = {**given} if isinstance(given, Mapping) else _named(given or "raw")
    try:
        found = parse_compression({"compression": named}, "it")
        found.require()
    except (MetadataError, UnsupportedError) as error:
        raise OptionError(f"compressor {given!r} cannot be used: {error.message}") from error
    return {"type": found.name, **found.settings}


def _named(given: str) -> Document:
    name, *words = given.split(":")
    name = {"none": "raw", "": "raw", "bz2": "bzip2", "lzma": "xz", "zlib": "gzip"}.get(name, name)
    found: Document = {"type": name}
    if given.startswith("zlib"):
        found["useZlib"] = True
    if name == "blosc":
        found |= {"cname": "lz4", "clevel": 5, "shuffle": 1}
        if words and not words[0].lstrip("-").isdecimal():
            found["cname"] = words.pop(0)
    level = {"blosc": "clevel", "bzip2": "blockSize", "xz": "preset", "lz4": "blockSize"}.get(name, "level")
    if len(words) > 1 or not all(word.lstrip("-").isdecimal() for word in words) or (words and name == "raw"):
        raise OptionError(f"compressor is {given!r}; it is one of {', '.join(TYPES)}, with a level as zstd:5")
    return {**found, level: int(words[0])} if words else found
