"""Credentials for S3: options, the environment, secrets files, ``~/.aws``, the role of the machine.

Sources: the AWS SDK reference guide (environment variables, shared config and credentials files, process credential
provider) and CloudVolume's secrets files.
"""

from __future__ import annotations

import atexit
import configparser
import datetime
import functools
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volumekit.errors import OptionError
from volumekit.storage.credentials import ANONYMOUS, read_secret, secrets_files

_NAMES = {
    "key": ("key", "aws_access_key_id", "AWS_ACCESS_KEY_ID", "AccessKeyId"),
    "secret": ("secret", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
    "token": ("token", "aws_session_token", "AWS_SESSION_TOKEN", "SessionToken"),
}
_BEFORE = 20 * 60
"""Seconds before their end at which passing credentials are renewed: TensorStore looks every 15 minutes."""


@dataclass(frozen=True)
class AwsLogin:
    """One way to sign requests.

    Attributes
    ----------
    source : str
        Where the credentials come from, for messages.
    key, secret, token : str
        Access key, secret key and session token; empty if this is none of that kind.
    machine : {"", "ecs", "imds"}
        Which service of the machine gives credentials.
    profile : str
        The profile that botocore, or else TensorStore, is to work out.
    """

    source: str
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    machine: str = ""
    profile: str = ""

    def spec(self) -> dict[str, Any]:
        """Return what TensorStore is told."""
        if self.machine:
            return {"type": self.machine}
        if self.key:
            file = _deposit(self)
            return {"type": "profile", "profile": "default", "credentials_file": file, "config_file": file}
        if self.profile:
            files = _files()
            known = [str(path) for path in files if path.is_file()]
            return {
                "type": "profile",
                "profile": self.profile,
                "credentials_file": known[0],
                "config_file": known[-1],
            }
        return {"type": "anonymous"}

    def filesystem_arguments(self) -> dict[str, Any]:
        """Return what s3fs is told."""
        if self.key:
            return {"key": self.key, "secret": self.secret, "token": self.token or None}
        if self.profile:
            return {"profile": self.profile}
        return {} if self.machine else {"anon": True}


NOBODY = AwsLogin(ANONYMOUS)


def aws_logins(bucket: str, options: Mapping[str, Any], secrets: Mapping[str, Any] | None) -> tuple[AwsLogin, ...]:
    """Return the logins to try, in order: the first credentials that are found, then none.

    Parameters
    ----------
    bucket : str
        The bucket.
    options : Mapping
        ``anonymous``: True for without credentials, False for never without; ``profile``; ``key``, ``secret``,
        ``token``.
    secrets : Mapping, optional
        Credentials of the caller.

    Raises
    ------
    OptionError
        If credentials are incomplete or cannot be read.
    """
    wanted = options.get("anonymous")
    if wanted:
        return (NOBODY,)
    sources: list[Callable[[], AwsLogin | None]] = [
        lambda: _keys(secrets, "secrets="),
        lambda: _keys(options, "storage_options") if options.get("key") or options.get("secret") else None,
        lambda: _profile(options["profile"], "storage_options") if options.get("profile") else None,
        lambda: _file("aws", bucket),
        lambda: _keys(os.environ, "the environment") if os.environ.get("AWS_ACCESS_KEY_ID") else None,
        lambda: _profile(os.environ["AWS_PROFILE"], "AWS_PROFILE") if os.environ.get("AWS_PROFILE") else None,
        lambda: _file("aws"),
        lambda: _profile("default", "~/.aws") if profile_settings("default") else None,
        _role,
    ]
    signed = next((login for source in sources if (login := source()) is not None), None)
    if signed is None and wanted is False:
        raise OptionError("anonymous is False, but there are no credentials")
    nobody = () if wanted is False else (NOBODY,)
    return nobody if signed is None else (signed, *nobody)


def _keys(found: Mapping[str, Any] | None, source: str) -> AwsLogin | None:
    if found is None:
        return None
    values = {field: next((found[name] for name in names if found.get(name)), "") for field, names in _NAMES.items()}
    if not (values["key"] and values["secret"]):
        raise OptionError(f"{source}: an access key (AWS_ACCESS_KEY_ID) and its AWS_SECRET_ACCESS_KEY are needed")
    for value in values.values():
        if not isinstance(value, str) or not value.isprintable() or " " in value:
            raise OptionError(f"{source}: a key is damaged; keys are text without spaces")
    return AwsLogin(f"{source} (access key …{values['key'][-4:]})", **values)


def _file(kind: str, bucket: str | None = None) -> AwsLogin | None:
    path = next(secrets_files(kind, bucket), None)
    return None if path is None else _keys(read_secret(path), str(path))


def _files() -> tuple[Path, Path]:
    """Return the credentials file and the config file."""
    places = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    credentials, config = (Path(os.environ.get(name) or usual).expanduser() for name, usual in places.items())
    return credentials, config


def profile_settings(name: str) -> dict[str, str]:
    """Return what ``~/.aws/config`` and ``~/.aws/credentials`` say of a profile; nothing if there is none.

    Raises
    ------
    OptionError
        If they cannot be read.
    """
    credentials, config = _files()
    found: dict[str, str] = {}
    for path, section in ((config, name if name == "default" else f"profile {name}"), (credentials, name)):
        parser = configparser.RawConfigParser(default_section="", strict=False)
        try:
            parser.read_string(path.read_text() if path.is_file() else "")
        except (OSError, ValueError, configparser.Error) as error:
            raise OptionError(f"{path} cannot be read: {error}") from error
        if parser.has_section(section):
            found.update(parser.items(section))
    return found


def _profile(name: str, source: str) -> AwsLogin | None:
    """Return the login of a profile.

    Raises
    ------
    OptionError
        If there is no such profile, or it gives no credentials.
    """
    settings, label = profile_settings(name), f"{source} (profile {name})"
    if not settings:
        raise OptionError(f"{source}: there is no profile {name!r} in {' or '.join(map(str, _files()))}")
    if "aws_access_key_id" in settings:
        return _keys(settings, label)
    if "credential_process" in settings:
        return _passing(label, functools.partial(_process, settings["credential_process"]))
    if any(name.startswith(("sso_", "role_arn", "web_identity")) for name in settings):
        return _worked_out(name, label)
    if name == "default" or source == "AWS_PROFILE":  # it may only say the region
        return None
    raise OptionError(f"{label} holds no credentials")


def _worked_out(name: str, label: str) -> AwsLogin | None:
    """Return the login of a profile that takes a conversation with Amazon; botocore has it where it is installed."""
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return AwsLogin(label, profile=name)

    def ask() -> Mapping[str, Any]:
        try:
            found = botocore.session.Session(profile=name).get_credentials()
            frozen = found.get_frozen_credentials()
        except (BotoCoreError, AttributeError) as error:
            raise OptionError(f"{label}: no credentials: {error}") from error
        ends = getattr(found, "_expiry_time", None)
        return {
            "AccessKeyId": frozen.access_key,
            "SecretAccessKey": frozen.secret_key,
            "SessionToken": frozen.token,
            "Expiration": ends.isoformat() if ends else None,
        }

    return _passing(label, ask)


def _process(command: str) -> Mapping[str, Any]:
    """Run a program that prints credentials."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, check=True, timeout=60)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise OptionError(f"credential_process {command!r} gave no credentials: {error}") from error
    if not isinstance(found, dict):
        raise OptionError(f"credential_process {command!r} printed no JSON object")
    return found


def _passing(label: str, ask: Callable[[], Mapping[str, Any]]) -> AwsLogin | None:
    """Return the login of credentials that end; they are asked for again before that."""
    found = ask()
    login = _keys(found, label)
    if login is not None and found.get("Expiration"):
        _renew(_deposit(login), label, ask, str(found["Expiration"]))
    return login


def _role() -> AwsLogin | None:
    """Return the login of the machine this runs on, if it has a role."""
    if any(f"AWS_CONTAINER_CREDENTIALS_{kind}_URI" in os.environ for kind in ("RELATIVE", "FULL")):
        return AwsLogin("the role of this container", machine="ecs")
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    return AwsLogin("the role of this machine", machine="imds") if not disabled and _on_ec2() else None


@functools.cache
def _on_ec2() -> bool:
    try:
        return "amazon ec2" in Path("/sys/devices/virtual/dmi/id/sys_vendor").read_text().lower()
    except OSError:
        return False


@functools.cache
def _folder() -> str:
    """Return a folder of this process, in memory where the system has such places."""
    places = [os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", None]
    place = next((place for place in places if place is None or os.access(place, os.W_OK | os.X_OK)), None)
    folder = tempfile.mkdtemp(prefix="volumekit-", dir=place)
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


_DEPOSITS: dict[tuple[str, str, str], str] = {}
_LOCK = threading.Lock()


def _deposit(login: AwsLogin) -> str:
    """Write keys where TensorStore takes them from, readable for this user only; it takes no other way."""
    known = login.key, login.secret, login.token
    with _LOCK:
        if known not in _DEPOSITS:
            path = Path(_folder()) / str(len(_DEPOSITS))
            _write(path, known)
            _DEPOSITS[known] = str(path)
        return _DEPOSITS[known]


def _write(path: Path, keys: tuple[str, str, str]) -> None:
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    lines = [f"{name} = {value}" for name, value in zip(names, keys, strict=True) if value]
    part = path.with_suffix(".new")
    part.touch(mode=0o600)
    part.write_text("\n".join(["[default]", *lines, ""]))
    part.replace(path)


def _renew(path: str, label: str, ask: Callable[[], Mapping[str, Any]], ends: str) -> None:
    """Put new credentials in the place of those that end soon, again and again."""

    def run() -> None:
        try:
            found = ask()
            login = _keys(found, label)
        except OptionError:
            _later(60.0, run)
            return
        if login is not None and Path(path).parent.is_dir():
            _write(Path(path), (login.key, login.secret, login.token))
            if found.get("Expiration"):
                _later(_seconds(str(found["Expiration"])), run)

    _later(_seconds(ends), run)


def _seconds(ends: str) -> float:
    """Return when to renew credentials, in seconds from now."""
    try:
        end = datetime.datetime.fromisoformat(ends.replace("Z", "+00:00"))
    except ValueError as error:
        raise OptionError(f"credentials end at {ends!r}, which is no time") from error
    if end.tzinfo is None:
        end = end.replace(tzinfo=datetime.UTC)
    left = (end - datetime.datetime.now(datetime.UTC)).total_seconds()
    return max(5.0, left - _BEFORE, min(left / 2, 60.0))


def _later(seconds: float, run: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, run)
    timer.daemon = True
    timer.start()
