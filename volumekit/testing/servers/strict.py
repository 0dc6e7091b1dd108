"""Google Storage look-alike that honours conditional writes, in front of one that does not."""

from __future__ import annotations

import json
import threading
from urllib.parse import parse_qs, quote, urlencode

from volumekit.testing.servers.web import Answer, Request, WebServer, forwarded

_CONDITIONS = ("ifGenerationMatch", "ifGenerationNotMatch")


class StrictGcs(WebServer):
    """A web server that forwards to a Google Storage look-alike what meets its conditions; the rest gets 412.

    Parameters
    ----------
    upstream : str
        ``http://host:port`` of the other server. Nobody else may write there.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream=upstream)
        self._one = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Forward a request if its condition holds; writes happen one after the other."""
        if request.method == "GET":
            return super().answer(request)
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        wanted = query.get(_CONDITIONS[0])
        with self._one:
            if wanted is not None and wanted != self._generation(request, query):
                return Answer(412, {}, b'{"error": {"code": 412, "message": "conditionNotMet"}}')
            plain = urlencode({name: value for name, value in query.items() if name not in _CONDITIONS})
            return forwarded(self.upstream, request._replace(query=plain))

    def _generation(self, request: Request, query: dict[str, str]) -> str:
        """Return the generation of the object that is to be written or deleted, "0" if there is none."""
        bucket, _, name = request.path.partition("/b/")[2].partition("/o")
        name = query.get("name") or name.removeprefix("/") or _named(request.body)
        raw = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        found = forwarded(self.upstream, Request("GET", "", "", {}, raw=raw))
        return str(json.loads(found.body)["generation"]) if found.status == 200 else "0"


def _named(body: bytes) -> str:
    """Return the name in the first part of a multipart upload."""
    text = body.partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
    return str(json.loads(text)["name"])
