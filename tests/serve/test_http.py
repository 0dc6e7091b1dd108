"""Answers as HTTP wants them: parts, copies, compression, other origins."""

import gzip
import json

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume, serve
from volumekit.serve.objects import PIECE

LARGE = bytes(range(256)) * (3 * PIECE // 256) + b"end"


@pytest.fixture(scope="module")
def array():
    return np.random.default_rng(7).integers(1, 250, (70, 40, 20), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, array):
    """A dataset with everything that can lie beside the chunks."""
    folder = tmp_path_factory.mktemp("http") / "brain"
    volume = Volume.from_numpy(array, folder, resolution=(4, 4, 40), chunk_size=(64, 32, 16), max_mip=1)
    volume.info["mesh"] = "mesh"
    volume.commit_info()
    for name, data in {
        "mesh/info": b'{"@type": "neuroglancer_legacy_mesh"}',
        "mesh/1:0": b'{"fragments": ["1:0:all"]}',
        "mesh/1:0:all.gz": gzip.compress(b"a mesh"),
        "mesh/2": b"\0" * 5000,
        "skeletons/0f.shard": LARGE,
        "empty": b"",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serve(folder, cors=["https://viewer.example"]) as running:
        yield running


CHUNK = "/brain/4_4_40/0-64_0-32_0-16"


def test_a_chunk(server, folder, array):
    reply = get(server, CHUNK)
    assert reply.status == 200
    assert reply.body == array[:64, :32, :16].tobytes("F")
    assert reply.headers["content-length"] == str(64 * 32 * 16)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["cache-control"] == "no-cache"
    assert "server" not in reply.headers


@pytest.mark.parametrize(
    "path",
    [
        CHUNK,
        "/brain/info",
        "/",
        "/brain.zarr/0/c/0/0/0",
        "/brain/skeletons/0f.shard",
        "/brain/mesh/1:0:all",
        "/no/such",
    ],
)
def test_head_is_get_without_the_body(server, path):
    whole, head = get(server, path), get(server, path, "HEAD")
    assert head.body == b""
    assert head.status == whole.status
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
    assert whole.headers["content-length"] == str(len(whole.body))


RANGES = [
    ("bytes=0-9", 0, 10), ("bytes=5-5", 5, 6), ("bytes=10-", 10, None), ("bytes=-7", -7, None),
    ("bytes=-999999999", 0, None), ("bytes=100-999999999", 100, None), ("Bytes=0-9", 0, 10), ("bytes = 3 - 4", 3, 5),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "start", "stop"), RANGES)
@pytest.mark.parametrize("path", [CHUNK, "/brain/info", "/brain.zarr/0/c/0/0/0", "/brain/mesh/2"])
def test_ranges(server, path, wanted, start, stop):
    whole = get(server, path).body
    part = get(server, path, headers={"Range": wanted})
    expected = whole[slice(start, stop)]
    first = len(whole) - len(expected) if start < 0 or stop is None else start
    assert (part.status, part.body) == (206, expected)
    assert part.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(whole)}"
    head = get(server, path, "HEAD", headers={"Range": wanted})
    assert (head.status, head.headers["content-length"]) == (206, str(len(expected)))


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0", "bytes=32768-32770"])
@pytest.mark.parametrize("path", [CHUNK, "/brain.zarr/0/c/0/0/0"])
def test_ranges_beyond_the_end(server, path, wanted):
    size = len(get(server, path).body)
    if wanted == "bytes=32768-32770" and size > 32768:
        pytest.fail("the chunk is larger than the test thinks")
    reply = get(server, path, headers={"Range": wanted})
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize(
    "wanted",
    ["bytes=9-3", "bytes=a-b", "bytes=", "bytes=-", "chunks=0-1", "bytes=0-1,5-6", "bytes=" + "9" * 30 + "-", ""],
)
def test_ranges_nobody_understands_are_everything(server, wanted):
    reply = get(server, CHUNK, headers={"Range": wanted})
    assert (reply.status, len(reply.body)) == (200, 64 * 32 * 16)


def test_large_objects_come_in_pieces(server):
    path = "/brain/skeletons/0f.shard"
    assert get(server, path).body == LARGE
    start, stop = 1000, 2 * PIECE + 77
    part = get(server, path, headers={"Range": f"bytes={start}-{stop - 1}"})
    assert (part.status, part.body) == (206, LARGE[start:stop])
    assert get(server, path, headers={"Range": "bytes=-3"}).body == b"end"


@pytest.mark.parametrize(
    "path", [CHUNK, "/brain/info", "/", "/brain.zarr/0/c/0/0/0", "/brain.zarr/zarr.json", "/brain/mesh/1:0:all"]
)
def test_copies_are_used_again(server, path):
    first = get(server, path)
    etag = first.headers["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = get(server, path, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == etag
    for other in ('"other"', "other", ""):
        assert get(server, path, headers={"If-None-Match": other}).status == 200
    same = get(server, path, headers={"If-Range": etag, "Range": "bytes=0-0"})
    assert same.status == 206
    changed = get(server, path, headers={"If-Range": '"other"', "Range": "bytes=0-0"})
    assert (changed.status, changed.body) == (200, first.body)


def test_tags_change_with_what_they_stand_for(running, tmp_path, array):
    volume = Volume.from_numpy(array.astype(np.float32), tmp_path / "data", chunk_size=(70, 40, 20), encoding="fpzip")
    server = running(tmp_path / "data")
    made, passed = "/data/1_1_1/0-70_0-40_0-20", "/data/provenance"
    before = [get(server, path).headers["etag"] for path in (made, passed)]
    volume[:] = array.astype(np.float32) + 1
    volume.provenance.description = "changed"
    volume.commit_provenance()
    for path, tag in zip((made, passed), before, strict=True):
        reply = get(server, path, headers={"If-None-Match": tag})
        assert (reply.status, reply.headers["etag"] != tag) == (200, True)


def test_texts_are_compressed_for_those_who_like(server):
    for path in ("/brain.zarr/0/zarr.json", "/brain/info"):
        plain = get(server, path)
        packed = get(server, path, headers={"Accept-Encoding": "br;q=1, gzip;q=0.5"})
        assert "content-encoding" not in plain.headers
        if len(plain.body) >= 1024:
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.headers["etag"] != plain.headers["etag"]
            assert gzip.decompress(packed.body) == plain.body
            assert (
                get(server, path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}).status
                == 304
            )
        else:
            assert packed.body == plain.body
        assert "accept-encoding" in plain.headers["vary"]


def test_what_lies_beside_the_chunks(server, folder):
    assert get(server, "/brain/mesh/info").body == (folder / "mesh/info").read_bytes()
    assert get(server, "/brain/mesh/info").headers["content-type"] == "application/json"
    assert get(server, "/brain/mesh/1:0").body == (folder / "mesh/1:0").read_bytes()
    assert get(server, "/brain/mesh/1:0:all").body == b"a mesh"
    assert get(server, "/brain/empty").body == b""
    assert json.loads(get(server, "/brain/provenance").body)["description"] == ""


@pytest.mark.parametrize(
    "path",
    [
        "/brain", "/brain/", "/nothing", "/nothing/info", "/brain/skeletons/info", "/brain/mesh", "/brain/mesh/",
        "/brain/.zattrs", "/brain/zarr.json", "/brain.zarr", "/brain.zarr/", "/brain.zarr/info",
        "/brain.zarr/.zgroup", "/brain.zarr/0", "/-/", "/-", "/brain/infos", "/brain/info/", "/x/brain/info",
        "/brain/4_4_40/info", "//brain/info", "/favicon.ico", "/-/thumbnail/nothing.png", "/-/thumbnail/brain",
        "/brain.zarr/2/zarr.json", "/Brain/info",
    ],
)  # fmt: skip
def test_what_is_not_there(server, path):
    reply = get(server, path)
    assert (reply.status, reply.body) == (404, b"Not Found\n")
    assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", [CHUNK, "/", "/nothing"])
def test_methods_that_would_change_something(server, method, path):
    reply = get(server, path, method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


ORIGIN = "https://viewer.example"


def test_pages_of_other_sites(server):
    for path in (CHUNK, "/nothing"):
        reply = get(server, path, headers={"Origin": ORIGIN})
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert "Content-Range" in reply.headers["access-control-expose-headers"]
        other = get(server, path, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    allowed = get(server, CHUNK, "OPTIONS", asked)
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "range" in allowed.headers["access-control-allow-headers"].lower()
    assert get(server, CHUNK, "OPTIONS", {**asked, "Origin": "https://evil.example"}).status == 400
    assert get(server, CHUNK, "OPTIONS", {**asked, "Access-Control-Request-Method": "PUT"}).status == 400


def test_pages_of_all_sites_and_of_none(running, folder):
    everybody, nobody = running(folder, cors="*"), running(folder)
    assert get(everybody, "/brain/info", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in get(nobody, "/brain/info", headers={"Origin": ORIGIN}).headers
    assert get(nobody, "/brain/info", "OPTIONS", headers={"Origin": ORIGIN}).status == 405


def test_the_list(running, folder, tmp_path):
    strange = tmp_path / "a <b> & 'c'"
    Volume.from_numpy(np.zeros((3000, 3000, 1), np.uint8), strange, chunk_size=(3000, 3000, 1))
    server = running(folder, strange, prefix="/lab")
    page = get(server, "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    assert "/lab/brain/info" in text
    assert "a &lt;b&gt; &amp;" in text
    assert "<b> &" not in text
    picture = get(server, "/-/thumbnail/brain.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.body.startswith(b"\x89PNG")
    assert get(server, "/-/thumbnail/a%20%3Cb%3E%20&%20'c'.png").status == 404
    assert get(server.url.removesuffix("/lab"), "/brain/info").status == 404
    assert get(server.url.removesuffix("/lab"), "/laboratory/info").status == 404


def test_names_with_slashes(running, folder):
    from volumekit.serve.sources import Source

    server = running(Source("lab/brain", str(folder)), Source("lab", str(folder)))
    for path in ("/lab/brain/info", "/lab/info", "/lab/brain.zarr/zarr.json", "/lab.zarr/zarr.json", "/lab/mesh/info"):
        assert get(server, path).status == 200, path


def test_a_damaged_chunk(running, tmp_path, array, caplog):
    Volume.from_numpy(array.astype(np.float32), tmp_path / "data", chunk_size=(70, 40, 20), encoding="fpzip")
    (tmp_path / "data/1_1_1/0-70_0-40_0-20").write_bytes(b"nonsense")
    reply = get(running(tmp_path / "data"), "/data/1_1_1/0-70_0-40_0-20")
    assert reply.status == 502
    assert str(tmp_path) not in reply.body.decode()
    assert "0-70_0-40_0-20" in caplog.text
