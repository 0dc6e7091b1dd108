"""The memory cache never shows what is no longer stored."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import volumekit
from tests.volume.sample import make
from volumekit import Volume
from volumekit.testing.servers import Stored

ROOT = Path(volumekit.__file__).parent.parent
WAYS = [None, "gzip"]
WRITE = (
    "import sys; from volumekit import Volume; Volume(sys.argv[1], compress=sys.argv[3] or None)[:] = int(sys.argv[2])"
)


@pytest.fixture(params=WAYS, ids=["native", "bridge"])
def cached(request, tmp_path):
    volume, array = make(tmp_path / "v", compress=request.param, lru_bytes=10**8, non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)
    return volume, array


def test_repeated_reads(cached):
    volume, array = cached
    for _ in range(3):
        np.testing.assert_array_equal(volume[:], array)
        np.testing.assert_array_equal(volume[3:9, 10:12], array[8:14, 3:5])


def test_a_cutout_is_the_callers_own(cached):
    volume, array = cached
    volume[:][...] = 0
    np.testing.assert_array_equal(volume[:], array)


def test_own_writes_are_seen(cached):
    volume, array = cached
    for value in (1, 2):
        volume[0:20, 10:30] = value
        array[5:25, 3:23] = value
        np.testing.assert_array_equal(volume[:], array)


def test_another_volume_writes_in_between(cached):
    volume, _ = cached
    for value, lru_bytes in ((1, 0), (2, 10**8), (3, 10**6)):
        Volume(volume.cloudpath, lru_bytes=lru_bytes, compress=volume.compress)[:] = value
        assert (volume[:] == value).all()
        assert volume[0, 10, 105, 0] == value


def test_another_process_writes_in_between(cached):
    volume, _ = cached
    command = [sys.executable, "-c", WRITE, volume.cloudpath, "4", volume.compress or ""]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
    assert (volume[:] == 4).all()
    volume[0, 10, 105] = 9
    assert (volume[1:] == 4).all()


def test_deletion_is_seen(cached):
    volume, _ = cached
    Volume(volume.cloudpath).delete(np.s_[-5:11, 7:23, 100:108])
    with pytest.raises(LookupError):
        volume[:]
    volume.fill_missing = True
    assert not volume[-5:11, 7:23, 100:108].any()


def test_files_that_another_program_changes(tmp_path):
    volume, array = make(tmp_path / "v", lru_bytes=10**8)
    np.testing.assert_array_equal(volume[:], array)
    for path in (tmp_path / "v" / "4_4_40").iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    assert not volume[:].any()


def test_a_change_of_variant_is_seen(cached):
    volume, _ = cached
    for method, value in (("br", 1), (False, 2), ("zstd", 3), ("gzip", 4)):
        Volume(volume.cloudpath, compress=method)[:] = value
        assert (volume[:] == value).all()


@pytest.mark.parametrize("tag", ["", 'W/"weak"', '"strong"'])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_web_servers_whatever_they_tell(web, tmp_path, tag, suffix):
    """Also natively, and through the bridge: a codec that TensorStore does not have."""
    encoding = "kempressed" if suffix else "raw"
    _, array = make(tmp_path / "v", dtype="float32", encoding=encoding)

    def serve(more):
        for path in (tmp_path / "v").rglob("*"):
            if path.is_file():
                web.objects[f"v/{path.relative_to(tmp_path / 'v')}"] = Stored(path.read_bytes(), {"ETag": tag and more})

    serve(tag)
    volume = Volume(f"{web.url}/v", lru_bytes=10**8)
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], array)
    Volume(tmp_path / "v")[:] = 7
    serve(tag[:-1] + '2"')
    assert (volume[:] == 7).all()


def test_shared_memory_and_new_volumes_are_seen(cached):
    volume, array = cached
    other = Volume(volume.cloudpath, compress=volume.compress)
    other.download_to_shared_memory(np.s_[:], "volumekit-caching-test")[...] = 5
    try:
        other.upload_from_shared_memory("volumekit-caching-test", other.bounds)
        assert (volume[:] == 5).all()
    finally:
        other.unlink_shared_memory("volumekit-caching-test")
    make(volume._url.path, array=array + 1, compress=volume.compress, overwrite=True)
    np.testing.assert_array_equal(volume[:], array + 1)


def test_two_mips_do_not_collide(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=1, lru_bytes=10**8, offset=(0, 0, 0))
    volume.upload((), 7, mip=1)
    for _ in range(2):
        np.testing.assert_array_equal(volume[:], array)
        assert (volume.download((), 1) == 7).all()
