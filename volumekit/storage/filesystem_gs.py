"""Objects of Google Storage through gcsfs, with conditional writes and headers.

Stamps are spelled as TensorStore's gcs driver spells them, so that what one reads the other may write.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from volumekit.codecs.compression import decompress
from volumekit.errors import ConflictError, StorageError
from volumekit.storage.base import ABSENT, Value
from volumekit.storage.credentials import ANONYMOUS
from volumekit.storage.filesystem import Filesystem, byte_range
from volumekit.storage.fsspec_errors import status
from volumekit.storage.headers import Headers, content_encoding

_NO_RANGE = 416
_LARGE = 1 << 20


class GsFilesystem(Filesystem):
    """Objects of Google Storage."""

    conditional: ClassVar[bool] = True
    headed: ClassVar[bool] = True
    lasting: ClassVar[slice] = slice(None)

    def __init__(self, fs: Any, *, durable: bool = False) -> None:
        super().__init__(fs, durable=durable)
        self._buckets: set[str] = set()

    @property
    def credentials(self) -> str:
        """Whose credentials it asks with."""
        token = self.fs.credentials.token
        return ANONYMOUS if token == "anon" else f"gcsfs: {self.fs.credentials.method or 'what it finds'}"

    async def _absent(self, path: str, error: FileNotFoundError) -> None:
        """Raise if it is the bucket that is missing, not the object; the answer is the same otherwise."""
        bucket = path.partition("/")[0]
        if bucket in self._buckets:
            return
        try:
            await self.fs._call("GET", "b/{}/o", bucket, maxResults=1, json_out=True)
        except FileNotFoundError:
            raise StorageError(f"there is no bucket {bucket!r}; check its name") from error
        except Exception:  # not everybody may list
            return
        self._buckets.add(bucket)

    async def stat(self, path: str) -> bytes | None:
        """Return the stamp of an object, None if there is none."""
        bucket, _, key = path.partition("/")
        try:
            reply = await self.fs._call("GET", "b/{}/o/{}", bucket, key, fields="generation", json_out=True)
        except FileNotFoundError as error:
            await self._absent(path, error)
            return None
        return _stamp(reply["generation"])

    async def get(self, path: str, start: int | None, stop: int | None) -> Value | None:
        """Read an object or a range of it; compressed ones are read whole."""
        if (start, stop) == (0, 0):
            stamp = await self.stat(path)
            return None if stamp is None else Value(b"", stamp)
        wanted, asked = slice(start, stop), byte_range(start, stop)
        try:
            headers, data = await self._media(path, asked)
        except FileNotFoundError as error:
            await self._absent(path, error)
            return None
        except Exception as error:
            if status(error) != _NO_RANGE:
                raise
            value = await self.get(path, None, None)  # the range may be one of what is compressed
            return value and value._replace(data=value.data[wanted])
        encoding = content_encoding(headers.get("Content-Encoding"))
        if encoding is not None and asked:
            headers, data = await self._media(path, {})
            encoding, asked = content_encoding(headers.get("Content-Encoding")), {}
        if encoding is not None:
            data = await asyncio.to_thread(decompress, data, encoding)
        part = asked and "Content-Range" in headers
        return Value(data if part else data[wanted], _stamp(headers["X-Goog-Generation"]))

    async def _media(self, path: str, asked: dict[str, str]) -> tuple[Mapping[str, str], bytes]:
        """Fetch the bytes of an object as they are stored; gcsfs's own calls decompress what is no whole stream."""
        from gcsfs.retry import retry_request, validate_response

        async def fetch() -> tuple[Mapping[str, str], bytes]:
            session, how = await self.fs._set_session(), self.fs._get_headers({"Accept-Encoding": "gzip", **asked})
            options = {"params": self.fs._get_params({}), "timeout": self.fs.requests_timeout}
            async with session.get(self.fs.url(path), headers=how, auto_decompress=False, **options) as reply:
                data = await reply.read()
                validate_response(reply.status, data, path)
                return reply.headers, data

        found: tuple[Mapping[str, str], bytes] = await retry_request(fetch, retries=self.fs.retries)()
        return found

    async def put(self, path: str, data: bytes, if_match: bytes | None, headers: Headers) -> bytes:
        """Write an object, if it is still as it was; return its new stamp."""
        bucket, _, key = path.partition("/")
        key.encode()  # JSON would have names for what no name can be
        optional = {"contentEncoding": headers.encoding, "cacheControl": headers.cache_control}
        facts = {"name": key, "contentType": headers.content_type}
        facts |= {name: value for name, value in optional.items() if value is not None}
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(facts)}\r\n"
            f"--{boundary}\r\nContent-Type: {headers.content_type}\r\n\r\n"
        )
        try:
            reply = await self.fs._call(
                "POST",
                f"{self.fs._location}/upload/storage/v1/b/{quote(bucket)}/o",
                uploadType="multipart",
                headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
                data=_body([head.encode(), data, f"\r\n--{boundary}--".encode()]),
                json_out=True,
                **_condition(if_match),
            )
        except FileNotFoundError as error:
            raise StorageError(f"there is no bucket {bucket!r}; check its name") from error
        except FileExistsError as error:
            raise ConflictError("the object changed since it was read; read it again") from error
        return _stamp(reply["generation"])

    async def remove(self, path: str, if_match: bytes | None) -> None:
        """Delete an object, if it is still as it was and there is one."""
        bucket, _, key = path.partition("/")
        if if_match is not None:
            await self._check(path, if_match)
            if if_match == ABSENT:
                return
        try:
            await self.fs._call("DELETE", "b/{}/o/{}", bucket, key, **_condition(if_match))
        except FileExistsError as error:
            raise ConflictError("the object changed since it was read; read it again") from error
        except FileNotFoundError as error:
            if if_match is not None:
                raise ConflictError("the object was removed since it was read; read it again") from error

    async def page(self, folder: str, start: str, token: Any = None) -> tuple[list[str], Any]:
        """List objects, a thousand at a time."""
        bucket, _, below = folder.partition("/")
        below = f"{below}/" if below else ""
        more = {} if token is None else {"pageToken": token}
        try:
            reply = await self.fs._call(
                "GET",
                "b/{}/o",
                bucket,
                prefix=below + start,
                fields="items(name),nextPageToken",
                maxResults=1000,
                json_out=True,
                **more,
            )
        except FileNotFoundError as error:
            raise StorageError(f"there is no bucket {bucket!r}; check its name") from error
        names = [entry["name"][len(below) :] for entry in reply.get("items", ())]
        return [name for name in names if not name.endswith("/")], reply.get("nextPageToken")


def _body(parts: list[bytes]) -> Any:
    """Return what to send, as aiohttp wants large bodies: it sends a buffer piece by piece, again if need be."""
    from aiohttp.payload import BytesIOPayload

    body = b"".join(parts)
    return body if len(body) < _LARGE else BytesIOPayload(io.BytesIO(body))


def _stamp(generation: str | int) -> bytes:
    return b"\0" + int(generation).to_bytes(8, "little")


def _condition(stamp: bytes | None) -> dict[str, str]:
    """Return the parameter of a request that must find a generation."""
    if stamp is None:
        return {}
    return {"ifGenerationMatch": "0" if stamp == ABSENT else str(int.from_bytes(stamp[1:], "little"))}
