"""A storage behind a web server that can go wrong: the same for S3, Google Storage and the web itself."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.testing.asking import ask
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.testing.servers import WebServer

FAST = {"attempts": 3, "delay": 0.02, "longest": 0.05}


@dataclass
class Remote:
    """Objects in a bucket, and the server in front of it through which they are asked for."""

    kind: str
    web: WebServer
    server: str
    bucket: str

    @property
    def url(self) -> str:
        """Where the dataset is, as its user sees it."""
        return self.place("volume")

    def place(self, folder: str, bucket: str | None = None) -> str:
        scheme = "" if self.kind == "http" else f"{self.kind}://"
        return f"{scheme}{self.web.url}/{bucket or self.bucket}/{folder}"

    def open(self, **options: Any) -> Any:
        return open_store(parse_url(self.url), options={"retry": FAST, **options})

    def put(self, key: str, data: bytes, encoding: str | None = None) -> None:
        """Store an object, with a Content-Encoding, behind everybody's back."""
        more = {} if encoding is None else {"Content_Encoding": encoding}
        if self.kind == "gs":
            path = f"{self.server}/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name=volume/{key}"
            encoded = f"&contentEncoding={encoding}" if encoding else ""
            assert ask(path + encoded, "POST", data)[0] == 200
        else:
            assert ask(f"{self.server}/{self.bucket}/volume/{quote(key)}", "PUT", data, **more)[0] == 200


def remote(kind: str, web: WebServer, quick_bucket: str, gcs_bucket: str) -> Remote:
    """Return an empty storage behind a web server, which forwards there."""
    server, _, bucket = (gcs_bucket if kind == "gs" else quick_bucket).partition("://")[2].rpartition("/")
    web.upstream = server
    return Remote(kind, web, server, bucket)
