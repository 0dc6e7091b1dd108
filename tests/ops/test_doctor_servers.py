"""The doctor asks real servers: what they honour, what they refuse, what is not there."""

import numpy as np
import pytest

from tests.storage.remotes import FAST
from tests.testing.asking import ask
from volumekit import Volume
from volumekit.model.url import parse_url
from volumekit.ops.doctor import QUESTIONS, examine
from volumekit.ops.probes import NAME
from volumekit.storage import open_store
from volumekit.testing.servers import Fault

OPTIONS = {"retry": FAST}


def answers(found):
    return {question: finding.holds for question, finding in found.findings.items()}


def names(url):
    return sorted(open_store(parse_url(url)).list())


def small(url):
    return Volume.from_numpy(np.ones((20, 20, 20), np.uint8), url, chunk_size=(16, 16, 16), progress=False)


@pytest.mark.parametrize("kind", ["s3", "quick", "strict_gcs"])
def test_servers_that_honour_conditions(kind, request):
    bucket = request.getfixturevalue(f"{kind}_bucket")
    small(f"{bucket}/v")
    before = names(f"{bucket}/v")
    found = examine(f"{bucket}/v", storage_options=OPTIONS)
    assert answers(found) == dict.fromkeys(QUESTIONS, True)
    assert (found.exit_code, found.format, found.advice) == (0, "precomputed", [])
    assert found.credentials
    assert 0 < found.latency < 5
    assert names(f"{bucket}/v") == before


def test_a_server_that_does_not(gcs_bucket):
    """fake-gcs-server honours the conditions of gcsfs but not those of TensorStore; both write."""
    found = examine(f"{gcs_bucket}/v", storage_options=OPTIONS)
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), "conditional": False}
    assert found.exit_code == 3
    assert names(gcs_bucket) == []


def test_writing_only_if_asked(s3_bucket):
    small(f"{s3_bucket}/v")
    found = examine(f"{s3_bucket}/v", read_only=True, storage_options=OPTIONS)
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), "writable": None, "conditional": None}
    assert found.exit_code == 0


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_bucket_that_is_not_there(kind, request):
    bucket = request.getfixturevalue(f"{kind}_bucket")
    found = examine(f"{bucket}-not/v", storage_options=OPTIONS)
    assert answers(found) == {**dict.fromkeys(QUESTIONS), "reachable": False, "readable": False}
    assert "there is no bucket" in found.no_dataset
    assert found.exit_code == 1


def through(web, bucket):
    """Return the URL of a bucket behind a web server that can go wrong."""
    scheme, _, place = bucket.partition("://")
    web.upstream, _, name = place.rpartition("/")
    return f"{scheme}://{web.url}/{name}/v"


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_everything_is_refused(kind, request, web):
    url = through(web, request.getfixturevalue(f"{kind}_bucket"))
    web.fault(Fault(403))
    found = examine(url, storage_options=OPTIONS)
    assert answers(found) == {**dict.fromkeys(QUESTIONS), "reachable": True, "readable": False}
    assert "403" in found.findings["readable"].text
    assert found.exit_code == 1
    assert any("permission" in text for text in found.advice)


def test_writing_is_refused(web, s3_bucket):
    url = through(web, s3_bucket)
    small(url)
    web.fault(Fault(403), method="PUT")
    found = examine(url, storage_options=OPTIONS)
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), "writable": False, "conditional": None}
    assert "403" in found.findings["writable"].text
    assert (found.exit_code, found.left) == (0, [])
    assert not any(NAME in key for key in names(url))


def test_deleting_is_refused(web, s3_bucket):
    url = through(web, s3_bucket)
    small(url)
    web.fault(Fault(403), method="DELETE")
    found = examine(url, storage_options=OPTIONS)
    left = [key for key in names(url) if NAME in key]
    assert left
    assert sorted(found.left) == left
    assert found.exit_code == 1


def test_absent_objects_are_refused(web, s3_bucket):
    """Public buckets whose listing is not public answer 403 for what is not there."""
    url = through(web, s3_bucket)
    small(url)
    there = ("info", "/0-16_0-16_0-16")
    web.rules.append(lambda request: None if request.path.endswith(there) else Fault(403))
    found = examine(url, read_only=True, storage_options=OPTIONS)
    assert found.format == "precomputed"
    assert found.findings["readable"].holds
    assert found.findings["listable"].holds is False
    assert any("missing chunks" in text for text in found.advice)


def test_nothing_answers():
    found = examine("s3://http://127.0.0.1:9/bucket/v", storage_options=OPTIONS)
    assert answers(found) == {**dict.fromkeys(QUESTIONS), "reachable": False, "readable": False}
    assert "nobody accepts connections" in found.no_dataset
    assert found.exit_code == 1


def serve(web, url):
    store = open_store(parse_url(url))
    for key in names(url):
        web.objects[f"data/v/{key}"] = store.read(key).result().data


def test_a_web_server(web, tmp_path):
    small(tmp_path / "v")
    serve(web, tmp_path / "v")
    found = examine(f"{web.url}/data/v", storage_options=OPTIONS)
    unlisted = {"listable": False, "writable": False, "conditional": None}
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), **unlisted}
    assert (found.exit_code, found.format, len(found.levels)) == (0, "precomputed", 1)
    assert {request.method for request in web.requests} <= {"GET", "HEAD"}
    nothing = examine(f"{web.url}/data/w", storage_options=OPTIONS)
    assert nothing.exit_code == 1
    assert "no dataset" in nothing.no_dataset


def test_a_web_server_without_ranges(web, tmp_path):
    small(tmp_path / "v")
    info = (tmp_path / "v" / "info").read_bytes()
    serve(web, tmp_path / "v")
    web.rules.append(
        lambda request: Fault(200, body=info) if "range" in request.headers and request.path.endswith("info") else None
    )
    found = examine(f"{web.url}/data/v", storage_options=OPTIONS)
    assert found.format == "precomputed"
    assert found.findings["ranges"].holds is False
    assert any("sharded" in text for text in found.advice)


def test_the_servers_own_word(s3_bucket):
    """What the doctor removed is gone for others as well."""
    examine(f"{s3_bucket}/v", storage_options=OPTIONS)
    server, _, name = s3_bucket.partition("://")[2].rpartition("/")
    status, body, _ = ask(f"{server}/{name}")
    assert status == 200
    assert b"<Key>" not in body
