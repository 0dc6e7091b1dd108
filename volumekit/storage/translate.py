"""TensorStore's errors in our words: it reports storage trouble as `ValueError` with a status in front."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import unquote

from volumekit.errors import (
    ConflictError,
    CorruptChunkError,
    MissingChunkError,
    NoSpaceError,
    OutOfBoundsError,
    PermissionDeniedError,
    StorageError,
    UnsupportedError,
    VolumekitError,
)
from volumekit.storage.answers import meaning, named_object, parse_answer

_STATUS = re.compile(r"^([A-Z_]{5,}): ")
_FILE = re.compile(r'local file "((?:[^"\\]|\\.)*)"')

_REFUSED = (401, 403, 407)
_WHOLE = "was ignored by server"

_OBJECT = re.compile(r'Error (?:reading|writing) (?:shard entry [^"]* in )?"((?:[^"\\]|\\.)*)"')

_MEANING: dict[str, tuple[type[VolumekitError], str]] = {
    "NOT_FOUND": (MissingChunkError, "a chunk is not stored"),
    "PERMISSION_DENIED": (PermissionDeniedError, "the storage refused access; check permissions or credentials"),
    "UNAUTHENTICATED": (PermissionDeniedError, "the storage wants credentials"),
    "RESOURCE_EXHAUSTED": (NoSpaceError, "the storage is full; free some space and write the rest again"),
    "DATA_LOSS": (CorruptChunkError, "stored bytes are damaged; write this chunk again or delete it"),
    "INVALID_ARGUMENT": (CorruptChunkError, "stored bytes do not decode; write this chunk again or delete it"),
    "OUT_OF_RANGE": (CorruptChunkError, "an object is shorter than it should be"),
    "ABORTED": (ConflictError, "somebody else keeps changing the same object; try again"),
    "FAILED_PRECONDITION": (StorageError, "the storage cannot do this here; check that the path is a folder"),
    "UNIMPLEMENTED": (UnsupportedError, "the storage cannot do this"),
    "UNAVAILABLE": (StorageError, "the storage does not answer; try again later"),
    "DEADLINE_EXCEEDED": (StorageError, "the storage did not answer in time; try again later"),
    "CANCELLED": (StorageError, "the operation was cancelled"),
}


def status(error: BaseException) -> str | None:
    """Return the status of a TensorStore error, or None if it has none."""
    match = _STATUS.match(str(error))
    return match[1] if match else None


def translate(
    error: BaseException, *, url: str | None = None, key: str | None = None, box: object = None
) -> BaseException:
    """Return our error for one of TensorStore's; anything else is returned as it is.

    Parameters
    ----------
    error : BaseException
        What was raised.
    url, key, box
        Where it happened, as far as the caller knows.
    """
    if isinstance(error, VolumekitError):
        error.url, error.key, error.box = error.url or url, error.key or key, error.box or box
        return error
    if not isinstance(error, ValueError | IndexError | NotImplementedError):
        return error
    kind: type[VolumekitError]
    answer = parse_answer(str(error))
    if answer is not None and answer.status != HTTPStatus.GONE:
        kind, told = meaning(answer)
        return kind(told, url=url, key=_below(answer.key, url) or key, box=box)
    found = status(error)
    if found is None:
        kind = OutOfBoundsError if isinstance(error, IndexError) else StorageError
        return kind(str(error), url=url, key=key, box=box)
    kind, advice = _MEANING.get(_told(found, str(error)), (StorageError, "the storage failed"))
    named = _FILE.search(str(error)) or _OBJECT.search(str(error))
    key = _below(_relative(named[1], url) if named else named_object(str(error)), url) or key
    return kind(f"{advice}: {_readable(error)}", url=url, key=key, box=box)


def raise_translated(
    error: BaseException,
    *,
    url: str | None = None,
    key: str | None = None,
    box: object = None,
    explain: Callable[[BaseException], BaseException] = lambda error: error,
) -> NoReturn:
    """Raise our error for one of TensorStore's, with that one as its cause; anything else is raised as it is.

    Parameters
    ----------
    error, url, key, box
        As for `translate`.
    explain : callable, optional
        Adds what else is known: `Store.explain`.
    """
    problem = explain(translate(error, url=url, key=key, box=box))
    if problem is error:
        raise error
    raise problem from error


def is_better_asked(error: BaseException) -> bool:
    """Tell whether TensorStore's error may be none for `Store.read`, or is explained better by it.

    So are chunks that are missing, objects that are elsewhere, refusals, blocks of N5 that say how long they are, and
    servers that send whole objects where parts are asked for.
    """
    answer = parse_answer(str(error))
    refused = answer is not None and answer.status in _REFUSED
    known = refused or is_elsewhere(error) or is_beyond(error) or _WHOLE in str(error)
    return known or isinstance(translate(error), MissingChunkError)


def is_beyond(error: BaseException) -> bool:
    """Tell whether TensorStore met a chunk that only Python can read: a block of N5 that says how long it is."""
    return "varlength chunks not supported" in str(error)


def is_elsewhere(error: BaseException) -> bool:
    """Tell whether TensorStore's error is a redirect."""
    answer = parse_answer(str(error))
    return answer is not None and answer.redirected


def _told(found: str, text: str) -> str:
    """Tell decoding errors from those of the operating system, which come with the same statuses."""
    if "os_error_code" not in text:
        return "DATA_LOSS" if found == "FAILED_PRECONDITION" and "Error reading" in text else found
    return "UNKNOWN" if _MEANING.get(found, (None,))[0] is CorruptChunkError else found


def _relative(path: str, url: str | None) -> str:
    """Return the key of a file, or of an object, within the dataset."""
    root, path = (url or "").rpartition("://")[2].rstrip("/") + "/", path.rpartition("://")[2]
    return path.removeprefix(root) if len(root) > 1 else path


def _below(name: str | None, url: str | None) -> str | None:
    """Return the key within the dataset of an object that the storage names by its URL, or within its bucket."""
    if name is None:
        return None
    root = (url or "").partition("?")[0].rstrip("/")
    name = name.removeprefix("gs://")
    if "://" in name:
        return unquote(name).removeprefix(f"{root}/").partition("?")[0]
    parts = root.split("/")
    ends = ("/".join(parts[n:]) + "/" for n in range(3, len(parts)))
    return next((name.removeprefix(end) for end in ends if name.startswith(end)), name)


def _readable(error: BaseException) -> str:
    return re.sub(r" \[(source locations|tensorstore_spec|domain)=.*", "", str(error), flags=re.DOTALL)
