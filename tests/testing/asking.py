"""One request to a server, with nothing between."""

import urllib.error
import urllib.request


def ask(url, method="GET", data=None, **headers):
    sent = {"Content-Type": "application/octet-stream"}  # moto would take a form apart
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers
