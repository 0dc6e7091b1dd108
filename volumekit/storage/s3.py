"""S3 and whatever speaks its protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import tensorstore as ts

from volumekit.errors import OptionError, StorageError
from volumekit.model.url import URL
from volumekit.storage.base import Future, Store, chain, done
from volumekit.storage.credentials import check_options, given_secret
from volumekit.storage.credentials_aws import AwsLogin, aws_logins, profile_settings
from volumekit.storage.remote import BucketStore, Way, bucket_and_root
from volumekit.storage.retry import Retry, retry_of

OPTIONS = (
    "anonymous", "key", "secret", "token", "profile", "endpoint", "region", "path_style", "requester_pays",
    "conditional", "retry", "secrets",
)  # fmt: skip
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_USUAL = "us-east-1"


@dataclass(frozen=True)
class S3Settings:
    """How a bucket is reached.

    Attributes
    ----------
    bucket, root : str
        The bucket, and what keys begin with.
    logins : tuple of AwsLogin
        Credentials to try in order.
    endpoint : str, optional
        The server; None for Amazon's own.
    region : str, optional
        Its region; None: Amazon is asked where the bucket is.
    path_style : bool
        Whether the bucket is named in the path of requests rather than in the host.
    requester_pays, conditional : bool
        Whether whoever asks pays; whether the server honours conditional writes.
    retry : Retry
        How to try again.
    """

    bucket: str
    root: str
    logins: tuple[AwsLogin, ...]
    endpoint: str | None
    region: str | None
    path_style: bool
    requester_pays: bool
    conditional: bool
    retry: Retry = field(default_factory=Retry)

    @classmethod
    def of(cls, url: URL, options: Mapping[str, Any]) -> Self:
        """Return the settings that a URL, options and the environment make.

        Raises
        ------
        OptionError
            If they contradict each other, or credentials cannot be read.
        """
        check_options(url, options, OPTIONS)
        bucket, root = bucket_and_root(url)
        logins = aws_logins(bucket, options, given_secret(options.get("secrets")))
        profile = profile_settings(options.get("profile") or os.environ.get("AWS_PROFILE") or "default")
        endpoint = url.endpoint or options.get("endpoint") or _first(_ENDPOINTS) or profile.get("endpoint_url")
        if endpoint and "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        region = options.get("region")
        if endpoint and not region:
            region = _first(_REGIONS) or profile.get("region") or _USUAL
        path_style = options.get("path_style")
        if path_style and not endpoint:
            if not region:
                raise OptionError("path_style needs a region as well, as Amazon's hosts have it in their names")
            endpoint = f"https://s3.{region}.amazonaws.com"
        return cls(
            bucket,
            root,
            logins,
            endpoint.rstrip("/") if endpoint else None,
            region,
            endpoint is not None if path_style is None else bool(path_style),
            bool(options.get("requester_pays")),
            options.get("conditional") is not False,
            retry_of(options),
        )

    def spec(self, login: AwsLogin) -> dict[str, Any]:
        """Return TensorStore's key-value store."""
        found: dict[str, Any] = {
            "driver": "s3",
            "bucket": self.bucket,
            "aws_credentials": login.spec(),
            "s3_request_retries": self.retry.spec(),
            "use_conditional_write": self.conditional,
        }
        optional = {"endpoint": self.endpoint, "aws_region": self.region}
        return found | {name: value for name, value in optional.items() if value is not None}

    def filesystem_arguments(self) -> dict[str, Any]:
        """Return what ``s3fs.S3FileSystem`` is told."""
        client = {"endpoint_url": self.endpoint, "region_name": self.region}
        style = {"addressing_style": "path" if self.path_style else "virtual"}
        return {
            **self.logins[0].filesystem_arguments(),
            "client_kwargs": {name: value for name, value in client.items() if value},
            "config_kwargs": {
                "s3": style if self.endpoint else {},
                "connect_timeout": self.retry.connect,
                "read_timeout": self.retry.silence,
                "retries": {"max_attempts": self.retry.attempts, "mode": "standard"},
            },
            "requester_pays": self.requester_pays,
        }


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


class S3Store(BucketStore):
    """A folder of an S3 bucket.

    Parameters
    ----------
    url : URL
        Where it is.
    settings : S3Settings
        How it is reached.
    """

    def __init__(self, url: URL, settings: S3Settings) -> None:
        self.place, self.settings, self.conditional = url, settings, settings.conditional
        self.endpoint = settings.endpoint
        super().__init__(
            str(url), [Way(login.source, settings.spec(login)) for login in settings.logins], settings.root
        )

    def filesystem_arguments(self) -> Mapping[str, Any]:
        """Return what the bucket's filesystem of fsspec is told."""
        return self.settings.filesystem_arguments()

    def _prove(self) -> Future[None]:
        """Ask for a listing of next to nothing: unlike reading, that tells of the bucket."""
        root = self.settings.root.encode("utf-8", "surrogateescape")
        narrow = ts.KvStore.KeyRange(root + b"\0", root + b"\0\0")

        def rescue(error: Exception) -> Future[None]:
            if "NoSuchBucket" not in str(error.__cause__):
                return done(None)
            raise StorageError(f"there is no bucket {self.settings.bucket!r}; check its name", url=self.url) from error

        return chain(self._request("bucket", lambda kv, _: kv.list(narrow), lambda _: None), done, rescue=rescue)


def open_s3(url: URL, *, durable: bool = False, options: Mapping[str, Any] | None = None) -> Store:
    """Open a folder of a bucket: through TensorStore, or through s3fs where only that can reach it.

    Parameters
    ----------
    url : URL
        Where it is.
    durable : bool
        Nothing to S3, where a write counts as done only once it is safe.
    options : Mapping, optional
        ``anonymous``, ``key``, ``secret``, ``token``, ``profile``, ``secrets``: credentials. ``endpoint``, ``region``,
        ``path_style``: the server. ``requester_pays``. ``conditional=False``: for servers that do not know conditional
        writes. ``retry``: a `storage.retry.Retry`.

    Raises
    ------
    OptionError
        If options contradict each other, or credentials cannot be read.
    MissingExtraError
        If only s3fs can reach it, which is not installed.
    """
    settings = S3Settings.of(url, options or {})
    virtual = settings.endpoint is not None and not settings.path_style
    if not (virtual or settings.requester_pays):  # TensorStore does neither: it misspells the header of payers
        return S3Store(url, settings)
    from volumekit.storage.fsspec import FsspecStore

    return FsspecStore(url, durable=durable, options=settings.filesystem_arguments())
