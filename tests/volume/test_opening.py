"""What can go wrong when opening, and what the options may be."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import volumekit
from tests.volume.sample import empty, make
from volumekit import Volume
from volumekit.errors import (
    DatasetNotFoundError,
    InvalidURLError,
    MissingExtraError,
    OptionError,
    PermissionDeniedError,
    UnknownProtocolError,
    UnsupportedError,
)

ROOT = Path(volumekit.__file__).parent.parent


@pytest.mark.parametrize(
    "url", ["", "   ", "a\0b", "s3:/bucket/x", "file:/tmp/x", None, 5, "http://", "precomputed://"], ids=repr
)
def test_not_a_url(url):
    with pytest.raises(InvalidURLError):
        Volume(url)


@pytest.mark.parametrize("url", ["gopher://host/x", "nosuch://file:///tmp/x", "/tmp/x|nosuch:"])
def test_an_unknown_protocol_or_format(url):
    with pytest.raises(UnknownProtocolError, match="known"):
        Volume(url)
    with pytest.raises(UnknownProtocolError, match="known"):
        Volume("/tmp", format="nosuch")


def test_a_missing_extra(tmp_path, monkeypatch):
    from volumekit.formats import FORMATS

    monkeypatch.setitem(FORMATS._own, "exotic", "volumekit_no_such_module:Format[zarr]")
    with pytest.raises(MissingExtraError, match=r"pip install 'volumekit\[zarr\]'"):
        Volume(f"exotic://{tmp_path}")


def test_no_dataset(tmp_path):
    for path in (tmp_path, tmp_path / "nothing" / "there"):
        with pytest.raises(DatasetNotFoundError, match="no dataset") as caught:
            Volume(path)
        assert isinstance(caught.value, FileNotFoundError)
        assert str(path) in str(caught.value)
    with pytest.raises(DatasetNotFoundError):
        Volume("memory://nothing/there")


SCRIPT = """
import os, sys
from tests.volume.sample import make
from volumekit import Volume, errors

def uses(path):
    volume = Volume(path, fill_missing=True, non_aligned_writes=True, compress=sys.argv[1] or None)
    yield "read", lambda: volume[:]
    yield "points", lambda: volume.points([[0, 10, 105]])
    yield "write", lambda: volume.__setitem__((), 1)
    yield "write in part", lambda: volume.__setitem__(0, 1)
    yield "exists", volume.exists
    yield "exists one", lambda: volume.exists([slice(-5, 11), slice(7, 23), slice(100, 108)])
    yield "delete", lambda: volume.delete(())

make("memory://warm", compress="gzip")
for name, use in uses("memory://warm"):
    use()  # loads all modules, while they can be read
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    Volume(sys.argv[2])
except errors.PermissionDeniedError as error:
    print("denied open")
for name, use in uses(sys.argv[3]):
    try:
        print(name, use())
    except errors.PermissionDeniedError as error:
        assert isinstance(error, PermissionError) and sys.argv[3] in str(error), error
        print("denied", name)
"""
DENIED = ["open", "read", "points", "write", "write in part", "exists", "exists one", "delete"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("compress", ["", "gzip"])
def test_no_permission_is_never_missing(compress):
    """Neither the metadata nor chunks; tried as a user without rights."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        closed, listed = root / "closed", root / "listed"
        empty(closed)
        empty(listed, compress=compress or None)[:] = 1
        for path, mode in (
            (root, 0o755),
            (closed, 0o755),
            (listed, 0o755),
            (closed / "info", 0),
            (listed / "4_4_40", 0),
        ):
            path.chmod(mode)
        command = [sys.executable, "-c", SCRIPT, compress, str(closed), str(listed)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
        (listed / "4_4_40").chmod(0o755)
    assert done.stdout.splitlines() == [f"denied {name}" for name in DENIED], done.stderr


def test_the_errors_differ():
    kinds = [InvalidURLError, UnknownProtocolError, MissingExtraError, DatasetNotFoundError, PermissionDeniedError]
    assert not any(issubclass(a, b) for a in kinds for b in kinds if a is not b)


FORMS = [
    "{}",
    "{}/",
    "file://{}",
    "precomputed://{}",
    "precomputed://file://{}",
    "{}|precomputed:",
    "file://{}|neuroglancer-precomputed:",
    "neuroglancer-precomputed://file://{}",
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_urls(tmp_path, form):
    made, array = make(tmp_path / "v")
    volume = Volume(form.format(tmp_path / "v"))
    assert volume == made
    np.testing.assert_array_equal(volume[:], array)


def test_paths(tmp_path, monkeypatch):
    made, _ = make(tmp_path / "v")
    monkeypatch.chdir(tmp_path)
    assert Volume("v") == Volume("./v") == Volume(Path("v")) == Volume(tmp_path / "v", format="precomputed") == made


@pytest.mark.parametrize(
    "name", ["with space", "a%20b", "q?x", "h#x", "p|x", "ünïcode", "[0]", "a*", "-dash", "a:b", "'q\""]
)
def test_odd_names(tmp_path, name):
    made, array = make(f"file://{tmp_path}/{name}", compress="gzip")
    made.delete(made.bounds)
    made.compress = False
    made[:] = array
    volume = Volume(tmp_path / name)
    np.testing.assert_array_equal(volume[:], array)
    assert volume.exists().num_missing == 0
    assert (tmp_path / name / "info").exists()


def test_memory():
    made, array = make("memory://test_opening/v")
    np.testing.assert_array_equal(Volume("memory://test_opening/v")[:], array)
    packed, _ = make("memory://test_opening/w", compress="br")
    np.testing.assert_array_equal(Volume("memory://test_opening/w")[:], array)
    assert made != packed


@pytest.mark.parametrize("parallel", [True, 0, 1, 2, 16])
def test_parallel(tmp_path, parallel):
    volume, array = make(tmp_path / "v", parallel=parallel, compress="gzip", non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)
    volume.parallel = 3
    assert volume.parallel == 3
    volume[0:9] = 3
    assert (volume[0:9] == 3).all()


@pytest.mark.parametrize("parallel", [-1, 1.5, "many", None, [2]], ids=repr)
def test_impossible_parallel(tmp_path, parallel):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(OptionError, match="parallel"):
        Volume(volume.cloudpath, parallel=parallel)
    with pytest.raises(OptionError, match="parallel"):
        volume.parallel = parallel


@pytest.mark.parametrize("lru_bytes", [-1, 1.5, "big", None], ids=repr)
def test_impossible_lru_bytes(tmp_path, lru_bytes):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(OptionError, match="lru_bytes"):
        Volume(volume.cloudpath, lru_bytes=lru_bytes)[:]


def test_options_that_nothing_honours_yet_are_refused(tmp_path):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(UnsupportedError):
        Volume(volume.cloudpath, at={"t": 3})


def test_unknown_options_are_errors(tmp_path):
    volume, _ = make(tmp_path / "v")
    with pytest.raises(TypeError):
        Volume(volume.cloudpath, no_such_option=1)
    with pytest.raises(TypeError):
        Volume(volume.cloudpath, 0, True)


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_durable(tmp_path, compress):
    volume, array = make(tmp_path / "v", durable=True, compress=compress)
    np.testing.assert_array_equal(volume[:], array)


def test_a_pickled_volume_keeps_its_options(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=1, fill_missing=True, background_color=7, bounded=False)
    volume.mip = 1
    again = pickle.loads(pickle.dumps(volume))
    assert (again, again.mip, again.bounded, again.background_color) == (volume, 1, False, 7)
    assert (again[:] == 7).all()
    again.mip = 0
    np.testing.assert_array_equal(again[:], array)


def test_a_pickled_volume_that_was_never_committed(tmp_path):
    volume = Volume(tmp_path / "v", info=empty(tmp_path / "w").info)
    again = pickle.loads(pickle.dumps(volume))
    again[:] = 4
    again.commit_info()
    assert (Volume(tmp_path / "v")[:] == 4).all()
