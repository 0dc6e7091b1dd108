"""Credentials for Google Storage: options, secrets files, the environment, gcloud's default account, the machine.

Sources: Google's application default credentials and CloudVolume's secrets files.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volumekit.errors import OptionError, PermissionDeniedError
from volumekit.storage.credentials import ANONYMOUS, read_secret, secrets_files

_KINDS = ("service_account", "authorized_user")
"""Kinds of credentials files that TensorStore understands; google-auth knows more."""


@dataclass(frozen=True)
class GoogleLogin:
    """One way to authenticate.

    Attributes
    ----------
    source : str
        Where the credentials come from, for messages.
    document : str
        The JSON text of a service account's key or of an authorized user.
    token : str
        An access token.
    machine : bool
        Whether the machine's own account is meant.
    """

    source: str = field(compare=False)
    document: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    machine: bool = False

    @property
    def anonymous(self) -> bool:
        """Whether this is nobody."""
        return not (self.document or self.token or self.machine)

    @property
    def askable(self) -> bool:
        """Whether requests can be made with it outside TensorStore; accounts need google-auth for that."""
        return not (self.document or self.machine) or _has_google_auth()

    @property
    def understood(self) -> bool:
        """Whether TensorStore can use it."""
        return not self.document or json.loads(self.document).get("type") in _KINDS

    def filesystem_arguments(self) -> dict[str, Any]:
        """Return what gcsfs is told."""
        if self.machine:
            return {"token": "cloud"}
        if self.token:
            from google.oauth2.credentials import Credentials

            return {"token": Credentials(self.token)}
        return {"token": json.loads(self.document) if self.document else "anon"}

    def header(self) -> dict[str, str] | None:
        """Return the header that authenticates a request made outside TensorStore; None where nothing here can.

        Raises
        ------
        PermissionDeniedError
            If the account is refused.
        """
        if self.anonymous:
            return {}
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        try:
            return {"Authorization": f"Bearer {_access_token(self)}"}
        except ImportError:
            return None


NOBODY = GoogleLogin(ANONYMOUS)


def google_logins(
    bucket: str, options: Mapping[str, Any], secrets: Mapping[str, Any] | None
) -> tuple[GoogleLogin, ...]:
    """Return the logins to try, in order: the first credentials that are found, then none.

    Parameters
    ----------
    bucket : str
        The bucket.
    options : Mapping
        ``anonymous``: True for without credentials, False for never without; ``token``.
    secrets : Mapping, optional
        Credentials of the caller: a service account's key, or ``{"token": …}``.

    Raises
    ------
    OptionError
        If credentials cannot be read.
    """
    wanted = options.get("anonymous")
    if wanted:
        return (NOBODY,)
    sources: list[Callable[[], GoogleLogin | None]] = [
        lambda: _secret(secrets, "secrets="),
        lambda: _secret({"token": options["token"]}, "storage_options") if options.get("token") else None,
        lambda: _file(next(secrets_files("google", bucket), None)),
        lambda: _file(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"), "GOOGLE_APPLICATION_CREDENTIALS"),
        lambda: _file(next(secrets_files("google"), None)),
        lambda: _file(_gcloud(), "gcloud's default account"),
        lambda: GoogleLogin("the account of this machine", machine=True) if _on_google() else None,
    ]
    signed = next((login for source in sources if (login := source()) is not None), None)
    if signed is None and wanted is False:
        raise OptionError("anonymous is False, but there are no credentials")
    nobody = () if wanted is False else (NOBODY,)
    return nobody if signed is None else (signed, *nobody)


def _secret(found: Mapping[str, Any] | None, source: str) -> GoogleLogin | None:
    if found is None:
        return None
    token = found.get("token")
    if isinstance(token, str) and token.isascii() and token.isprintable():
        return GoogleLogin(f"{source} (a token)", token=token)
    if not isinstance(found.get("type"), str):
        raise OptionError(f"{source}: neither a Google account's key (it has a 'type') nor a token")
    who = found.get("client_email") or found.get("type")
    return GoogleLogin(f"{source} ({who})", document=json.dumps(dict(found), sort_keys=True))


def _file(place: str | Path | None, label: str = "") -> GoogleLogin | None:
    return None if not place else _secret(read_secret(place), label or str(place))


def _gcloud() -> Path | None:
    """Return the file of ``gcloud auth application-default login``, if there is one."""
    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
    path = folder / "application_default_credentials.json"
    return path if path.is_file() else None


@functools.cache
def _on_google() -> bool:
    """Tell whether this is one of Google's machines."""
    if os.environ.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    try:
        return "google" in Path("/sys/class/dmi/id/product_name").read_text().lower()
    except OSError:
        return False


@functools.cache
def _has_google_auth() -> bool:
    try:
        return importlib.util.find_spec("google.auth") is not None
    except ModuleNotFoundError:
        return False


@functools.lru_cache(maxsize=32)
def _account(login: GoogleLogin) -> Any:
    """Return google-auth's credentials of a login; they renew themselves."""
    import google.auth

    scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
    if login.machine:
        from google.auth import compute_engine

        return compute_engine.Credentials()
    found, _ = google.auth.load_credentials_from_dict(json.loads(login.document), scopes=scopes)
    return found


def _access_token(login: GoogleLogin) -> str:
    import google.auth.exceptions
    import google.auth.transport.requests

    account = _account(login)
    if not account.valid:
        try:
            account.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.GoogleAuthError as error:
            raise PermissionDeniedError(f"Google gives no token for {login.source}: {error}") from error
    token: str = account.token
    return token
