"""Objects of S3 through s3fs, with conditional writes and headers.

Stamps are spelled as TensorStore's s3 driver spells them, so that what one reads the other may write.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from volumekit.codecs.compression import decompress
from volumekit.errors import ConflictError, StorageError
from volumekit.storage.base import ABSENT, Value
from volumekit.storage.credentials import ANONYMOUS
from volumekit.storage.filesystem import Filesystem, byte_range
from volumekit.storage.fsspec_errors import status
from volumekit.storage.headers import Headers, content_encoding

_CONFLICT = (409, 412)
_NO_RANGE = 416


class S3Filesystem(Filesystem):
    """Objects of S3."""

    conditional: ClassVar[bool] = True
    headed: ClassVar[bool] = True
    lasting: ClassVar[slice] = slice(None)

    @property
    def credentials(self) -> str:
        """Whose credentials it asks with."""
        if self.fs.anon:
            return ANONYMOUS
        return "the key that s3fs was given" if self.fs.key else "what s3fs finds"

    async def _s3(self, method: str, path: str, **how: Any) -> Any:
        bucket, _, key = path.partition("/")
        return await self.fs._call_s3(method, Bucket=bucket, Key=key, **how)

    async def stat(self, path: str) -> bytes | None:
        """Return the stamp of an object, None if there is none."""
        try:
            return _stamp(await self._s3("head_object", path))
        except FileNotFoundError as error:
            _check_bucket(error, path)
            return None

    async def get(self, path: str, start: int | None, stop: int | None) -> Value | None:
        """Read an object or a range of it; compressed ones are read whole."""
        if (start, stop) == (0, 0):
            stamp = await self.stat(path)
            return None if stamp is None else Value(b"", stamp)
        wanted, asked = slice(start, stop), byte_range(start, stop)
        try:
            reply, data = await self._body(path, asked)
        except FileNotFoundError as error:
            _check_bucket(error, path)
            return None
        except OSError as error:
            if status(error) != _NO_RANGE:
                raise
            value = await self.get(path, None, None)  # the range may be one of what is compressed
            return value and value._replace(data=value.data[wanted])
        encoding = content_encoding(reply.get("ContentEncoding"))
        if encoding is not None and asked:
            reply, data = await self._body(path, {})
            asked = {}
        if encoding is not None:
            data = await asyncio.to_thread(decompress, data, encoding)
        return Value(data if asked else data[wanted], _stamp(reply))

    async def _body(self, path: str, asked: dict[str, str]) -> tuple[Any, bytes]:
        """Fetch an object; what was cut short is fetched again."""
        from s3fs.core import S3_RETRYABLE_ERRORS

        for attempt in range(max(1, self.fs.retries)):
            reply = await self._s3("get_object", path, **asked, **self.fs.req_kw)
            try:
                return reply, await reply["Body"].read()
            except S3_RETRYABLE_ERRORS as error:
                problem = error
                await asyncio.sleep(min(0.1 * 2**attempt, 5))
            finally:
                reply["Body"].close()
        raise problem

    async def put(self, path: str, data: bytes, if_match: bytes | None, headers: Headers) -> bytes:
        """Write an object, if it is still as it was; return its new stamp."""
        optional = {
            "ContentEncoding": headers.encoding,
            "CacheControl": headers.cache_control,
            "IfNoneMatch": "*" if if_match == ABSENT else None,
            "IfMatch": _etag(if_match) if if_match not in (None, ABSENT) else None,
        }
        sent = {name: value for name, value in optional.items() if value is not None}
        try:
            reply = await self._s3("put_object", path, Body=data, ContentType=headers.content_type, **sent)
        except FileNotFoundError as error:
            _check_bucket(error, path)
            if if_match in (None, ABSENT):
                raise
            raise ConflictError("the object was removed since it was read; read it again") from error
        except OSError as error:
            if if_match is not None and status(error) in _CONFLICT:
                raise ConflictError("the object changed since it was read; read it again") from error
            raise
        return _stamp(reply)

    async def remove(self, path: str, if_match: bytes | None) -> None:
        """Delete an object, if it is still as it was and there is one."""
        sent = {}
        if if_match is not None:
            await self._check(path, if_match)
            if if_match == ABSENT:
                return
            sent = {"IfMatch": _etag(if_match)}
        try:
            await self._s3("delete_object", path, **sent)
        except OSError as error:
            if if_match is not None and status(error) in _CONFLICT:
                raise ConflictError("the object changed since it was read; read it again") from error
            raise

    async def page(self, folder: str, start: str, token: Any = None) -> tuple[list[str], Any]:
        """List objects, a thousand at a time."""
        bucket, _, below = folder.partition("/")
        below = f"{below}/" if below else ""
        more = {} if token is None else {"ContinuationToken": token}
        try:
            reply = await self.fs._call_s3("list_objects_v2", Bucket=bucket, Prefix=below + start, **more)
        except FileNotFoundError as error:
            raise StorageError(f"there is no bucket {bucket!r}; check its name") from error
        names = [entry["Key"][len(below) :] for entry in reply.get("Contents", ())]
        return [name for name in names if not name.endswith("/")], reply.get("NextContinuationToken")


def _stamp(reply: Any) -> bytes:
    etag: str = reply["ETag"]
    return b"\0" + etag.encode()


def _etag(stamp: bytes | None) -> str:
    """Return the ETag in a stamp."""
    return (stamp or b"")[1:].decode("ascii", "replace")


def _check_bucket(error: FileNotFoundError, path: str) -> None:
    """Raise if it is the bucket that is missing, not the object."""
    response = getattr(error.__cause__, "response", {}) or {}
    if response.get("Error", {}).get("Code") == "NoSuchBucket":
        raise StorageError(f"there is no bucket {path.partition('/')[0]!r}; check its name") from error
