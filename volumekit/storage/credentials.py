"""Whose credentials to use: what options, secrets files and the environment say.

`storage.credentials_aws` and `storage.credentials_google` know the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volumekit.errors import OptionError
from volumekit.model.url import closest

if TYPE_CHECKING:
    from volumekit.model.url import URL

FOLDERS = ("~/.volumekit/secrets", "~/.cloudvolume/secrets", "~/.cloudfiles/secrets")
"""Where secrets files are looked for; ``$VOLUMEKIT_SECRETS_DIR`` replaces them."""

ANONYMOUS = "nobody's (anonymously)"
"""What messages call asking without credentials."""


def secrets_folders() -> list[Path]:
    """Return the folders that may hold secrets files."""
    own = os.environ.get("VOLUMEKIT_SECRETS_DIR")
    return [Path(folder).expanduser() for folder in ([own] if own else FOLDERS)]


def secrets_files(kind: str, bucket: str | None = None) -> Iterator[Path]:
    """Yield the secrets files there are: ``BUCKET-aws-secret.json``, or without a bucket ``aws-secret.json``.

    Parameters
    ----------
    kind : {"aws", "google"}
        For which storage.
    bucket : str, optional
        The bucket whose own file is wanted.
    """
    name = f"{kind}-secret.json" if bucket is None else f"{bucket}-{kind}-secret.json"
    yield from (path for path in (folder / name for folder in secrets_folders()) if path.is_file())


def read_secret(place: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file of credentials.

    Raises
    ------
    OptionError
        If it cannot be read, or is no JSON object.
    """
    try:
        found = json.loads(Path(place).expanduser().read_text())
    except (OSError, ValueError) as error:
        raise OptionError(f"the credentials file {place} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise OptionError(f"the credentials file {place} holds no JSON object")
    return found


def given_secret(secrets: Any) -> dict[str, Any] | None:
    """Return the ``secrets`` of a caller as a dictionary: one, the path of a JSON file, or a token.

    Raises
    ------
    OptionError
        If it is something else.
    """
    if secrets is None:
        return None
    if isinstance(secrets, Mapping):
        return dict(secrets)
    if isinstance(secrets, os.PathLike) or (isinstance(secrets, str) and secrets.endswith(".json")):
        return read_secret(secrets)
    if isinstance(secrets, str) and secrets.strip() and secrets.isprintable():
        return {"token": secrets}
    raise OptionError("secrets is neither a dictionary of credentials, nor the path of a JSON file, nor a token")


def check_options(url: URL, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse options that a storage does not have.

    Raises
    ------
    OptionError
        The message names those it has.
    """
    from volumekit.storage.fsspec import OURS

    unknown = sorted(name for name in options if name not in (*known, *OURS))
    if unknown:
        raise OptionError(
            f"{url.protocol}:// has no option {unknown[0]!r}; it has {', '.join(known)}{closest(unknown[0], known)}",
            url=str(url),
        )
