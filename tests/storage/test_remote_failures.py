"""Servers that fail: what may pass is tried again, what does not is an error that says so; nothing is "missing"."""

import json
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.storage.remotes import FAST, remote
from volumekit import Volume
from volumekit.errors import (
    DatasetNotFoundError,
    InvalidURLError,
    OptionError,
    PermissionDeniedError,
    StorageError,
    UnknownProtocolError,
    VolumekitError,
)
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.storage.retry import Retry
from volumekit.testing.servers import Fault, WebServer, fast_s3

PASSING = [
    Fault(500), Fault(502), Fault(503), Fault(504), Fault(429, {"Retry-After": "1"}), Fault(408), Fault(drop=True),
    Fault(cut=3), Fault(cut=0),
]  # fmt: skip
INFO = Volume.create_new_info(
    num_channels=1, layer_type="image", data_type="uint8", encoding="raw", resolution=(1, 1, 1),
    voxel_offset=(0, 0, 0), volume_size=(8, 8, 8), chunk_size=(8, 8, 8),
)  # fmt: skip
CHUNK = "1_1_1/0-8_0-8_0-8"


def name(fault):
    return str(fault.status or ("drop" if fault.drop else f"cut {fault.cut}"))


@pytest.fixture(params=["http", "s3", "gs"])
def place(request, web, quick_bucket, gcs_bucket):
    found = remote(request.param, web, quick_bucket, gcs_bucket)
    found.put("a/b", b"0123456789")
    return found


@pytest.fixture
def volume(place):
    place.put("info", json.dumps(INFO).encode())
    place.put(CHUNK, bytes(range(256)) * 2)
    return Volume(place.url, storage_options={"retry": FAST})


@pytest.mark.parametrize("fault", PASSING, ids=name)
def test_what_passes_is_tried_again(fault, place):
    store = place.open()
    place.web.fault(fault, ".*a/b", times=2)
    assert store.read("a/b").result().data == b"0123456789"
    assert place.web.count(".*a/b") >= 3


@pytest.mark.parametrize("fault", PASSING, ids=name)
def test_what_does_not_pass_tells_key_status_and_attempts(fault, place):
    store = place.open()
    place.web.fault(fault, ".*a/b")
    with pytest.raises(StorageError) as caught:
        store.read("a/b").result()
    assert (caught.value.key, caught.value.url) == ("a/b", store.url)
    assert f"asked {FAST['attempts']} times" in caught.value.message
    if fault.status:
        assert f"HTTP status {fault.status} " in caught.value.message
    else:
        assert "broke off" in caught.value.message


def test_a_volume_tells_them_too(place, volume):
    place.web.fault(Fault(503), f".*{CHUNK}")
    for fill in (None, True):
        volume.fill_missing = fill
        with pytest.raises(StorageError, match=r"HTTP status 503 .*asked 3 times") as caught:
            volume[:]
        assert caught.value.key == CHUNK
        assert caught.value.box == volume.bounds


@pytest.mark.parametrize("status", [401, 403])
def test_refused_is_never_missing(status, place, volume):
    store = place.open()
    place.web.fault(Fault(status))
    asked = [
        lambda: store.read("a/b").result(),
        lambda: store.read("none").result(),
        lambda: store.read("a/b", 0, 0).result(),
        lambda: store.read("a/b", 2, 5).result(),
        lambda: store.find(["none", "a/b"]).result(),
        lambda: volume[:],
        lambda: Volume(place.url, storage_options={"retry": FAST}),
        lambda: volume.exists(),
        lambda: volume.exists(np.s_[0:8, 0:8, 0:8]),
        volume.has_data,
    ]
    volume.fill_missing = True
    if store.writable:
        asked += [
            lambda: list(store.list()),
            lambda: list(store.list("a/")),
            lambda: store.commit({"a/b": b"1"}).result(),
            lambda: volume.upload((), np.zeros((8, 8, 8), np.uint8)),
        ]
    for ask in asked:
        with pytest.raises(PermissionDeniedError, match=f"HTTP status {status}.*credentials tried: "):
            ask()


def test_what_is_absent_where_nobody_may_list(place, volume):
    """Some buckets answer 403 for what is not there; nobody can tell that from what is hidden."""
    place.web.rules.append(lambda asked: None if asked.path.endswith(("info", "a/b")) else Fault(403))
    volume.fill_missing = True
    with pytest.raises(PermissionDeniedError):
        volume[:]
    assert place.open().read("a/b").result().data == b"0123456789"


def test_a_bucket_that_does_not_exist(place):
    if place.kind == "http":
        with pytest.raises(DatasetNotFoundError):
            Volume(place.place("volume", "no-such-bucket"), storage_options={"retry": FAST})
        return
    url = place.place("volume", "no-such-bucket")
    new = Volume(url, info=INFO, fill_missing=True, storage_options={"retry": FAST})
    store = open_store(parse_url(url), options={"retry": FAST})
    for ask in (
        lambda: Volume(url, storage_options={"retry": FAST}),
        lambda: store.read("a").result(),
        lambda: store.read("a").result(),
        lambda: store.read("a", 0, 0).result(),
        lambda: list(store.list()),
        lambda: store.commit({"a": b"1"}).result(),
        lambda: new[:],
        new.exists,
        new.commit_info,
    ):
        with pytest.raises(StorageError, match=r"there is no (such )?bucket"):
            ask()


def test_a_bucket_that_may_not_be_listed_is_there(place):
    if place.kind == "http":
        return
    place.web.rules.append(lambda asked: Fault(403) if "list-type" in asked.query or asked.path[-2:] == "/o" else None)
    store = place.open()
    assert store.read("none").result() is None
    with pytest.raises(PermissionDeniedError):
        list(store.list())


def test_a_server_that_dies_in_the_middle(place, volume):
    """Half of an answer has come when the server goes: an error, no zeros."""
    place.web.fault(Fault(pace=30), f".*{CHUNK}")
    place.put(CHUNK, bytes(512 * 16))
    volume.fill_missing = True
    timer = threading.Timer(0.2, place.web.stop)
    timer.start()
    with pytest.raises(StorageError, match="asked 3 times") as caught:
        volume[:]
    assert caught.value.key == CHUNK
    timer.join()


def test_slow_is_not_dead(place):
    place.put("slow", bytes(5000))
    place.web.fault(Fault(delay=0.2, pace=0.05), ".*slow")
    assert place.open().read("slow").result().data == bytes(5000)


HANG = """
import os, sys
from volumekit import Volume
from volumekit.errors import StorageError
from volumekit.storage.retry import Retry
retry = Retry(attempts=2, delay=0.1, silence=1, connect=1)
try:
    Volume(sys.argv[1], storage_options={"retry": retry})
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_a_server_that_never_answers(kind, web):
    """In a process of its own: timeouts are the process's."""
    web.fault(Fault(hang=True))
    url = f"{web.url}/a" if kind == "http" else f"s3://{web.url}/bucket/a"
    done = subprocess.run([sys.executable, "-c", HANG, url], capture_output=True, text=True, timeout=60, check=True)
    assert "did not answer in time (asked 2 times)" in done.stdout
    assert "key: info" in done.stdout
    assert done.stderr == ""


def test_a_server_that_accepts_no_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}/a", f"s3://http://127.0.0.1:{port}/bucket/a"):
            with pytest.raises(StorageError, match=r"nobody accepts connections there.*asked 3 times") as caught:
                Volume(url, storage_options={"retry": FAST})
            assert caught.value.key == "info"


@pytest.mark.parametrize("scheme", ["http://", "s3://http://", "gs://http://"])
def test_a_host_name_that_nobody_has(scheme):
    with pytest.raises(StorageError, match=r"no host of this name|not known|does not answer") as caught:
        Volume(f"{scheme}no-such-host.invalid/bucket/a", storage_options={"retry": FAST})
    assert "no-such-host.invalid" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "error", "hint"),
    [
        ("s4://bucket/a", UnknownProtocolError, "did you mean 's3'"),
        ("htp://host/a", UnknownProtocolError, "did you mean 'http'"),
        ("s3:/bucket/a", InvalidURLError, "did you mean 's3://bucket/a'"),
        ("https:/host/a", InvalidURLError, "did you mean 'https://host/a'"),
        ("s3://", InvalidURLError, "no bucket"),
        ("s3://B_/a", InvalidURLError, "bucket"),
        ("gs://http://host", InvalidURLError, "no bucket"),
        ("http://", InvalidURLError, "no server"),
    ],
)
def test_urls_with_a_typo(url, error, hint):
    with pytest.raises(error, match=hint):
        Volume(url)


def test_a_moved_bucket(web, quick_bucket):
    place = remote("s3", web, quick_bucket, "")
    body = b"<Error><Code>PermanentRedirect</Code><Message>The bucket is elsewhere</Message></Error>"
    place.web.fault(Fault(301, {"Content-Type": "application/xml"}, body))
    with pytest.raises(StorageError, match=r"region; HTTP status 301 .*PermanentRedirect.*: The bucket is elsewhere"):
        place.open().read("a").result()


def test_a_google_look_alike_that_redirects(web, gcs_bucket):
    """TensorStore's driver ends the process when that happens, so it never gets that far."""
    place = remote("gs", web, "", gcs_bucket)
    place.web.fault(Fault(302, {"Location": "http://127.0.0.1:9/"}))
    with pytest.raises(StorageError, match=r"does not answer as Google Storage does.*302") as caught:
        place.open()
    assert caught.value.url == place.url


def test_nothing_is_half_written(web, quick_bucket):
    """Of many chunks one cannot be written: the error says which landed, and those are whole."""
    place = remote("s3", web, quick_bucket, "")
    voxels = np.random.default_rng(1).integers(1, 255, (32, 32, 32, 1), np.uint8)
    info = Volume.create_new_info(
        num_channels=1, layer_type="image", data_type="uint8", encoding="raw", resolution=(1, 1, 1),
        voxel_offset=(0, 0, 0), volume_size=(32, 32, 32), chunk_size=(8, 8, 8),
    )  # fmt: skip
    volume = Volume(place.url, info=info, storage_options={"retry": FAST})
    volume.commit_info()
    place.web.fault(Fault(500), ".*8-16_8-16_8-16", method="PUT")
    with pytest.raises(StorageError) as caught:
        volume[:] = voxels
    assert any(box.contains_bbox(parse_box("8-16_8-16_8-16")) for box in caught.value.unknown)
    place.web.rules.clear()
    found = Volume(place.url, fill_missing=True, storage_options={"retry": FAST})[:]
    for key, there in volume.exists().items():
        box = parse_box(key.rpartition("/")[2])
        at = box.to_slices()
        assert (found[at] == (voxels[at] if there else 0)).all(), key


def parse_box(text):
    from volumekit import Bbox

    return Bbox.from_filename(text)


def test_the_defaults_give_up_within_a_minute():
    retry = Retry()
    silent = retry.attempts * retry.silence + sum(retry.wait(n) for n in range(retry.attempts - 1))
    assert 30 < silent <= 60


@pytest.mark.parametrize(
    "given",
    [
        {"attempts": 0}, {"attempts": 2.5}, {"delay": -1}, {"silence": 0}, {"silence": float("nan")},
        {"attempts": True}, {"speed": 1}, 3, "often", {"connect": "1s"},
    ],
)  # fmt: skip
def test_impossible_retries(given):
    with pytest.raises(OptionError, match="retry"):
        open_store(parse_url("s3://bucket/a"), options={"retry": given})


def test_timeouts_are_the_process_s():
    open_store(parse_url("http://host/a"), options={"retry": {"attempts": 7}})
    with pytest.raises(OptionError, match="timeouts of this process"):
        open_store(parse_url("http://host/a"), options={"retry": Retry(silence=77)})


def test_errors_of_every_kind_are_documented_ones(web):
    """Whatever status a server makes up, the error is one of ours."""
    web.objects["a"] = b"1"
    for protocol in (f"{web.url}/x", f"s3://{web.url}/bucket/x"):
        store = open_store(parse_url(protocol), options={"retry": {"attempts": 1}})
        for status in (*range(300, 309), *range(400, 432), 451, *range(500, 512), 520, 599):
            web.rules.clear()
            web.fault(Fault(status, {}, b"<x>\xff[HTTP code 200]"))
            if (status in (404, 410) and protocol.startswith("http")) or status == 404:
                assert store.read("a").result() is None
                continue
            with pytest.raises(VolumekitError) as caught:
                store.read("a").result()
            assert (caught.value.key, caught.value.url) == ("a", store.url), status


def test_a_server_in_another_process_killed_in_the_middle():
    voxels = np.random.default_rng(1).integers(1, 255, (64, 64, 64), np.uint8)
    with fast_s3() as server:
        url = server.make_bucket("bucket") + "/volume"
        login = {"key": "a", "secret": "b", "retry": FAST}
        volume = Volume.from_numpy(voxels, url, chunk_size=(16, 16, 16), storage_options=login)
        assert (volume[:][..., 0] == voxels).all()
        server.kill()
        volume.fill_missing = True
        with pytest.raises(StorageError):
            volume[:]


def test_web_server_fixture_is_fresh(web):
    assert isinstance(web, WebServer)
    assert web.requests == []
