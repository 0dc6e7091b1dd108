"""The least an ASGI application can do to send files, as they are or transcoded. ``BARE_ROOT`` names their folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.codecs import get_codec
from volumekit.codecs.compression import decompress
from volumekit.model.level import CodecSpec

_ROOT = os.environ.get("BARE_ROOT", "")
CSEG = "compressed_segmentation"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send the file that the path names: open, pread, close."""
    await _send(send, _read(scope["path"]))


def transcoder(encoding: str, dtype: str, side: int) -> Callable[[bytes], bytes]:
    """Return what makes another encoding of the bytes of a zarr chunk, zstd, with the codecs alone."""
    settings = {"compressed_segmentation_block_size": (8, 8, 8)} if encoding == CSEG else {}
    encode: Callable[[NDArray[Any]], bytes] = get_codec(CodecSpec(encoding, settings)).encode

    def transcoded(data: bytes) -> bytes:
        plain = decompress(data, "zstd", limit=side**3 * np.dtype(dtype).itemsize)
        return encode(np.frombuffer(plain, dtype).reshape((side, side, side, 1), order="F"))

    return transcoded


def transcoding() -> Callable[[dict[str, Any], Any, Any], Any]:
    """Return an application that transcodes each file on the way, as ``BARE_CODECS`` says: encoding, type, side."""
    encoding, dtype, side = os.environ["BARE_CODECS"].split()
    transcoded = transcoder(encoding, dtype, int(side))

    async def transcodes(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await _send(send, transcoded(_read(scope["path"])))

    return transcodes


def _read(path: str) -> bytes:
    file = os.open(_ROOT + path, os.O_RDONLY)
    size = os.fstat(file).st_size
    data = os.pread(file, size, 0)
    os.close(file)
    return data


async def _send(send: Any, data: bytes) -> None:
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})
