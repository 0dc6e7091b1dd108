"""Requests to a server of ours, exactly as written, with nothing that tidies paths up."""

import http.client
from typing import NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    status: int
    headers: dict
    body: bytes


def get(server, path, method="GET", headers=(), body=None):
    """Ask a server (or a URL) for a path below its prefix and token."""
    place = urlsplit(getattr(server, "url", server))
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    try:
        connection.putrequest(method, place.path + path, skip_accept_encoding=True)
        for name, value in dict(headers).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()
