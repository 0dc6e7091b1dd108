"""Damaged, hostile and unusual info files: a documented error, at once and without large allocations."""

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import (
    MetadataError,
    MissingChunkError,
    OptionError,
    ReadOnlyError,
    StorageError,
    UnsupportedError,
    VolumekitError,
)

FOLDER = Path(__file__).parent.parent / "golden" / "precomputed" / "bad_infos"
ALL = json.loads((FOLDER / "cases.json").read_text())["cases"]
CASES = [case for case in ALL if not case.get("only_a_link")]
PROMPT = 5.0
SMALL = 32 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a dataset for every case."""
    root = tmp_path_factory.mktemp("infos")
    for case in ALL:
        (root / case["name"]).mkdir()
        data = (FOLDER / case["file"]).read_bytes()
        if case.get("needs_root"):
            data = data.replace(b"@ROOT@", f"precomputed://file://{root}".encode())
        (root / case["name"] / "info").write_bytes(data)
    return root


def outcome(url):
    """Return ``"error"``, or the mips that cannot be used."""
    try:
        volume = Volume(url)
    except VolumekitError:
        return "error", set()
    bad = {mip for mip in volume.available_mips if not usable(volume, mip)}
    return ("scale_error" if bad else "ok"), bad


def usable(volume, mip):
    """Tell whether a scale behaves like one without chunks."""
    level = volume.levels[mip]
    voxel = tuple(slice(n, n + 1) for n in level.offset)
    try:
        volume.download(voxel, mip)
    except MissingChunkError:
        pass
    except (MetadataError, UnsupportedError, StorageError):
        return False
    background = volume.download(voxel, mip, fill_missing=True)
    assert not background.any()
    assert volume.exists(voxel, mip).num_present == 0
    return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(root, case):
    started = time.monotonic()
    tracemalloc.start()
    try:
        found, bad = outcome(str(root / case["name"]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    allowed = {case["expect"], *case.get("tolerate", [])}
    if "sharding" in case["name"]:
        allowed |= {"scale_error"}
    assert found in allowed, case["why"]
    if found == "scale_error" and "scales" in case:
        assert bad == set(case["scales"]), case["why"]
    assert time.monotonic() - started < PROMPT
    assert peak < SMALL


@pytest.mark.parametrize("name", ["key_parent", "key_parents", "key_parent_inside"])
def test_scales_outside_the_dataset_are_read_only(root, name):
    volume = Volume(str(root / name), 1, fill_missing=True)
    assert not volume[:].any()
    for write in (lambda: volume.__setitem__((), 1), lambda: volume.delete(())):
        with pytest.raises(ReadOnlyError, match="outside"):
            write()


def test_scales_outside_the_dataset_can_be_read(tmp_path):
    shared = Volume.from_numpy(np.arange(64, dtype=np.uint8).reshape(4, 4, 4), tmp_path / "a" / "b")
    info = shared.copy_info()
    info["scales"][0]["key"] = "../b/1_1_1"
    Volume(tmp_path / "a" / "c", info=info).commit_info()
    volume = Volume(tmp_path / "a" / "c")
    np.testing.assert_array_equal(volume[:], shared[:])
    assert volume.exists().num_missing == 0


def test_errors_name_the_dataset(root):
    with pytest.raises(MetadataError) as caught:
        Volume(str(root / "truncated"))
    assert str(root / "truncated") in str(caught.value)


def test_a_long_redirect_says_where_it_went(root):
    with pytest.raises(MetadataError, match="redirect_loop_b"):
        Volume(str(root / "redirect_loop_a"))


WRITERS = [
    ("jpeg", "uint8", {"jpeg_quality": "high"}),
    ("jpeg", "uint8", {"jpeg_quality": [1]}),
    ("png", "uint8", {"png_level": -1}),
    ("jxl", "uint8", {"jxl_effort": 11}),
    ("fpzip", "float32", {"fpzip_precision": 7.5}),
    ("zfpc", "float32", {"zfpc_rate": 8, "zfpc_precision": 9}),
]


def with_settings(folder, encoding, dtype, settings):
    """Return the URL of a volume of ones whose info somebody else has edited."""
    made = Volume.from_numpy(np.ones((16, 16, 16), dtype), folder, encoding=encoding)
    info = {**made.info, "scales": [{**made.scale, **settings}]}
    (folder / "info").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize(("encoding", "dtype", "settings"), WRITERS, ids=str)
def test_what_only_writers_need_spoils_writing_alone(tmp_path, encoding, dtype, settings):
    volume = Volume(with_settings(tmp_path / "v", encoding, dtype, settings))
    assert (volume[:] == 1).all()
    assert volume.info["scales"][0].items() >= settings.items()
    with pytest.raises(ReadOnlyError, match=next(iter(settings))):
        volume[:] = 0
    with pytest.raises(OptionError, match=next(iter(settings))):
        volume.commit_info()
    volume.scale.update(dict.fromkeys(settings))
    volume[:] = 0
    volume.commit_info()
    assert (Volume(tmp_path / "v")[:] == 0).all()


@pytest.mark.parametrize("quality", [None, 85.0])
def test_numbers_of_other_writers(tmp_path, quality):
    volume = Volume(with_settings(tmp_path / "v", "jpeg", "uint8", {"jpeg_quality": quality}))
    volume[:] = 7
    assert (volume[:] == 7).all()
    assert volume.levels[0].codec.settings == ({} if quality is None else {"jpeg_quality": 85})
