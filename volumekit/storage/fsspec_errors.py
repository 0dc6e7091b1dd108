"""Errors of fsspec and the packages behind it in our words."""

from __future__ import annotations

import asyncio

from volumekit.errors import (
    ConflictError,
    ForkError,
    PermissionDeniedError,
    StorageError,
    UnsupportedError,
    VolumekitError,
)
from volumekit.storage.kvstore import os_error

ABSENT_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What filesystems raise where there is no such file."""

_REFUSED = (401, 403)
_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
    "UnauthorizedSSOTokenError", "SSOTokenLoadError", "ProfileNotFound", "RefreshError", "DefaultCredentialsError",
    "ClientAuthenticationError", "CredentialUnavailableError", "AuthenticationException", "NonRetryableError",
}  # fmt: skip


def status(error: BaseException) -> int | None:
    """Return the HTTP status that a package's error stands for, if it does."""
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(error, "code", None) or getattr(error, "status_code", None)
    try:
        return None if found is None else int(found)
    except (TypeError, ValueError):
        return None


def translate_fsspec(error: Exception, *, url: str, key: str | None = None) -> Exception:
    """Return our error for one of fsspec's.

    Parameters
    ----------
    error : Exception
        What was raised.
    url, key
        Where it happened.
    """
    if isinstance(error, VolumekitError):
        error.url, error.key = error.url or url, error.key or key
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, PermissionError) or status(error) in _REFUSED or str(error).startswith("Forbidden"):
        return PermissionDeniedError(
            f"the storage refused access; check permissions or credentials: {text}", url=url, key=key
        )
    if type(error).__name__ in _NO_CREDENTIALS:
        return PermissionDeniedError(f"no valid credentials: {text}", url=url, key=key)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return StorageError(f"the storage did not answer in time; try again later: {text}", url=url, key=key)
    if isinstance(error, NotImplementedError):
        return UnsupportedError(f"this filesystem cannot do that: {text}", url=url, key=key)
    if isinstance(error, RuntimeError) and "fork" in str(error):
        return ForkError(f"{error}; start processes with multiprocessing.get_context('spawn')", url=url)
    if isinstance(error, OSError) and error.errno is not None and error.__cause__ is None:
        found = os_error(error, url=url, key=key)
        return found if isinstance(found, Exception) else error
    if isinstance(error, UnicodeError | ValueError) and key is not None:
        return StorageError(f"{key!r} cannot be used as the name of an object here: {text}", url=url, key=key)
    return StorageError(f"the storage failed: {text}", url=url, key=key)


def conflict(url: str, key: str) -> ConflictError:
    """Return the error of a conditional write that found newer data."""
    return ConflictError("the object changed since it was read; read it again", url=url, key=key)
