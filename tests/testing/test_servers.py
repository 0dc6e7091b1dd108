"""The servers that other tests stand on: they answer as the real ones do, and misbehave as told."""

import http.client
import socket
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest

from tests.testing.asking import ask
from volumekit.testing.servers import BucketServer, Fault, Stored, WebServer


def keys(body):
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    root = ElementTree.fromstring(body)
    return (
        [found.text for found in root.iter(f"{space}Key")],
        [found.text for part in root.iter(f"{space}CommonPrefixes") for found in part],
        root.findtext(f"{space}NextContinuationToken"),
    )


@pytest.fixture(params=["quick_server", "s3_server"])
def s3(request):
    """Both S3 servers: what one answers the other does as well."""
    return request.getfixturevalue(request.param)


def signed():
    """Moto wants to see some signature."""
    return {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request, Signature=x"}


def test_s3_objects(s3):
    place = s3.make_bucket("objects").removeprefix("s3://")
    auth = signed()
    assert ask(f"{place}/a%20b", **auth)[0] == 404
    status, _, headers = ask(f"{place}/a%20b", "PUT", b"0123456789", **auth)
    assert status == 200
    etag = headers["ETag"]
    assert ask(f"{place}/a%20b", **auth)[:2] == (200, b"0123456789")
    for wanted, part in {"bytes=2-4": b"234", "bytes=8-": b"89", "bytes=8-30": b"89", "bytes=-3": b"789"}.items():
        assert ask(f"{place}/a%20b", Range=wanted, **auth)[:2] == (206, part)
    assert ask(f"{place}/a%20b", Range="bytes=10-12", **auth)[0] == 416
    status, body, headers = ask(f"{place}/a%20b", "HEAD", **auth)
    assert (status, body, headers["Content-Length"], headers["ETag"]) == (200, b"", "10", etag)
    assert ask(f"{place}/a%20b", If_None_Match=etag, **auth)[0] == 304
    assert ask(f"{place}/a%20b", "PUT", b"1", If_None_Match="*", **auth)[0] == 412
    assert ask(f"{place}/a%20b", "PUT", b"1", If_Match='"old"', **auth)[0] == 412
    assert ask(f"{place}/a%20b", "PUT", b"new", If_Match=etag, **auth)[0] == 200
    assert ask(f"{place}/a%20b", **auth)[1] == b"new"
    assert ask(f"{place}/a%20b", "DELETE", **auth)[0] == 204
    assert ask(f"{place}/a%20b", "DELETE", **auth)[0] == 204
    assert ask(f"{place}/a%20b", **auth)[0] == 404
    status, body, _ = ask(f"{s3.url}/no-such-bucket/a", **auth)
    assert status == 404
    assert b"NoSuchBucket" in body


def test_s3_listings(s3):
    place = s3.make_bucket("listings").removeprefix("s3://")
    auth = signed()
    names = [f"d/{n:04}" for n in range(1203)] + ["e", "d/x y", "f/g/h", "f/g/i", "f/j"]
    for name in names[-5:] if s3.__class__ is BucketServer else names:
        ask(f"{place}/{name.replace(' ', '%20')}", "PUT", b"x", **auth)
    stored = names[-5:] if s3.__class__ is BucketServer else names
    found, token = [], None
    while True:
        more = f"&continuation-token={token}" if token else ""
        page, _, token = keys(ask(f"{place}?list-type=2{more}", **auth)[1])
        assert len(page) <= 1000
        found += page
        if token is None:
            break
    assert found == sorted(stored)
    assert keys(ask(f"{place}?list-type=2&prefix=f/&delimiter=/", **auth)[1]) == (["f/j"], ["f/g/"], None)
    assert keys(ask(f"{place}?list-type=2&prefix=d/x&encoding-type=url", **auth)[1])[0] in (["d/x%20y"], ["d/x+y"])


def test_quick_latency(quick_server):
    place = quick_server.make_bucket("slow").removeprefix("s3://")
    ask(f"{place}/a", "PUT", b"1")
    quick_server.set_latency(0.1)
    try:
        start = time.monotonic()
        assert ask(f"{place}/a")[1] == b"1"
        assert time.monotonic() - start >= 0.1
    finally:
        quick_server.set_latency(0)


def test_gcs(gcs_server):
    gcs_server.make_bucket("some")
    place = f"{gcs_server.url}/upload/storage/v1/b/some/o?uploadType=media&name=a/b"
    assert ask(place, "POST", b"123")[0] == 200
    assert ask(f"{gcs_server.url}/storage/v1/b/some/o/a%2Fb?alt=media")[1] == b"123"
    assert ask(f"{gcs_server.url}/storage/v1/b/some/o/none?alt=media")[0] == 404


def test_servers_end_with_their_owner():
    code = (
        "import os, time\nfrom volumekit.testing.servers import fast_s3\n"
        "server = fast_s3().__enter__()\nprint(server.url, flush=True)\nos._exit(0)"
    )
    url = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    port = int(url.rpartition(":")[2])
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise AssertionError("it goes on")


def test_a_server_that_does_not_start_tells_why():
    with pytest.raises(RuntimeError, match="could not convert"), BucketServer("s3", "fast"):
        pass


def test_web_objects(web):
    web.objects["a b/c"] = b"0123456789"
    web.objects["zipped"] = Stored(b"\x1f\x8b", {"Content-Encoding": "gzip"})
    url = f"{web.url}/a%20b/c"
    status, body, headers = ask(url)
    assert (status, body) == (200, b"0123456789")
    assert ask(url, If_None_Match=headers["ETag"])[0] == 304
    assert ask(url, If_Match='"old"')[0] == 412
    assert ask(url, "HEAD")[2]["Content-Length"] == "10"
    for wanted, part in {"bytes=2-4": b"234", "bytes=8-": b"89", "bytes=8-30": b"89", "bytes=-3": b"789"}.items():
        assert ask(url, Range=wanted)[:2] == (206, part)
    assert ask(url, Range="bytes=10-")[0] == 416
    assert ask(f"{web.url}/zipped")[2]["Content-Encoding"] == "gzip"
    assert ask(f"{web.url}/none")[0] == 404
    assert ask(url, "PUT", b"1")[0] == 405
    web.absent = 403
    assert ask(f"{web.url}/none?token=1")[0] == 403
    assert web.requests[-1].query == "token=1"
    assert web.count("a b/c", method="HEAD") == 1
    assert web.count("a .*") == 10


def test_web_faults(web):
    web.objects.update({"a": b"x" * 5000, "b": b"b"})
    web.fault(Fault(503, {"Retry-After": "7"}), "a", times=1)
    status, body, headers = ask(f"{web.url}/a")
    assert (status, body, headers["Retry-After"]) == (503, b"injected fault", "7")
    web.fault(Fault(cut=10), "a", times=1, method="GET")
    assert ask(f"{web.url}/a", "HEAD")[0] == 200
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(f"{web.url}/a")
    assert len(caught.value.partial) == 10
    web.fault(Fault(drop=True), "a", times=1)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(f"{web.url}/a")
    web.fault(Fault(delay=0.1, pace=0.02), "a", times=1)
    start = time.monotonic()
    assert len(ask(f"{web.url}/a")[1]) == 5000
    assert time.monotonic() - start >= 0.1 + 4 * 0.02
    assert ask(f"{web.url}/a")[0] == 200
    web.redirect("old/", f"{web.url}/")
    assert ask(f"{web.url}/old/b")[1] == b"b"
    web.demand("X-Key", "let me in")
    assert ask(f"{web.url}/b")[0] == 401
    assert ask(f"{web.url}/b", X_Key="let me in")[1] == b"b"


def test_web_hangs_until_it_stops():
    with WebServer({"a": b"1"}) as web:
        web.fault(Fault(hang=True))
        connection = http.client.HTTPConnection("127.0.0.1", int(web.url.rpartition(":")[2]), timeout=20)
        connection.request("GET", "/a")
        assert not web.stopping.is_set()
        web.stop()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
        connection.close()


def test_web_forwards(quick_bucket, quick_server):
    place = quick_bucket.removeprefix("s3://")
    with WebServer(upstream=quick_server.url) as web:
        near = place.replace(quick_server.url, web.url)
        assert ask(f"{near}/a%20b%25", "PUT", b"0123456789")[0] == 200
        web.fault(Fault(500), times=1)
        assert ask(f"{near}/a%20b%25")[0] == 500
        assert ask(f"{near}/a%20b%25", Range="bytes=1-2")[:2] == (206, b"12")
        assert ask(f"{near}/a%20b%25", "HEAD")[2]["Content-Length"] == "10"
        assert ask(f"{place}/a%20b%25")[1] == b"0123456789"
