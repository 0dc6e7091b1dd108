"""Datasets that cloud-volume and TensorStore wrote read equal, voxel by voxel."""

import json
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import MissingChunkError, UnsupportedError

FOLDER = Path(__file__).parent.parent / "golden" / "precomputed"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/manifest.json"))


def opened(name, **how):
    manifest = json.loads((FOLDER / name / "manifest.json").read_text())
    volume = Volume(FOLDER / name / "data", fill_missing=bool(manifest.get("missing")), **how)
    arrays = {key: np.load(FOLDER / name / file) for key, file in manifest["arrays"].items()}
    return volume, arrays, manifest


def mip_of(volume, key):
    return next(mip for mip in volume.available_mips if volume.mip_key(mip) == key)


def test_there_are_datasets():
    assert len(NAMES) > 40


@pytest.mark.parametrize("name", NAMES)
def test_whole_scales(name):
    volume, arrays, manifest = opened(name)
    assert arrays
    for key, expected in arrays.items():
        volume.mip = mip_of(volume, key)
        found = volume[:]
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape == volume.shape
        np.testing.assert_array_equal(found, expected)
    if "offset" in manifest["parameters"]:
        assert volume.mip_voxel_offset(0).tolist() == list(manifest["parameters"]["offset"])


@pytest.mark.parametrize("name", NAMES)
def test_through_the_bridge(name):
    """The Python codecs decode what the native ones do."""
    volume, arrays, _ = opened(name)
    for key, expected in arrays.items():
        array = volume.array(mip_of(volume, key))
        level = array.level
        found = array._bridge[tuple(slice(a, b) for a, b in zip(level.offset, level.end, strict=True))].read().result()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_parts_and_points(name, rng):
    volume, arrays, _ = opened(name)
    for key, expected in arrays.items():
        volume.mip = mip_of(volume, key)
        low, size = volume.voxel_offset, np.array(expected.shape[:3])
        first = low + size // 3
        last = np.minimum(first + np.maximum(size // 2, 1), low + size)
        part = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        local = tuple(slice(int(a - o), int(b - o)) for a, b, o in zip(first, last, low, strict=True))
        np.testing.assert_array_equal(volume[part], expected[local])
        points = rng.integers(0, size, (20, 3))
        np.testing.assert_array_equal(volume.points(points + low), expected[tuple(points.T)])


@pytest.mark.parametrize("name", NAMES)
def test_reports(name):
    volume, arrays, manifest = opened(name)
    for key in arrays:
        report = volume.exists((), mip_of(volume, key))
        missing = manifest.get("missing", {}).get(key, [])
        assert set(report.missing) == {f"{key}/{chunk}" for chunk in missing}
        assert report.num_present > 0


@pytest.mark.parametrize("name", [n for n in NAMES if "sparse" in n])
def test_missing_chunks_are_errors_unless_filled(name):
    volume, arrays, manifest = opened(name)
    volume.fill_missing = None
    for key, missing in manifest["missing"].items():
        volume.mip = mip_of(volume, key)
        with pytest.raises(MissingChunkError):
            volume[:]
        for box in volume.exists().bounds_of(f"{key}/{chunk}" for chunk in missing):
            with pytest.raises(MissingChunkError):
                volume[box]
        filled = Volume(volume.cloudpath, volume.mip, fill_missing=True, background_color=9)[:]
        assert (filled != arrays[key]).any()


def test_an_unknown_encoding_spoils_only_its_scale():
    volume, arrays, _ = opened("ts_unknown_encoding")
    unreadable = [mip for mip in volume.available_mips if volume.mip_key(mip) not in arrays]
    assert unreadable
    for mip in unreadable:
        with pytest.raises(UnsupportedError, match="encoding"):
            volume.download((), mip)


def test_unknown_members_are_kept():
    volume, _, _ = opened("ts_raw_unknown_members")
    stored = json.loads((FOLDER / "ts_raw_unknown_members" / "data" / "info").read_text())
    assert volume.info == stored


def test_provenance_of_other_writers():
    for name in NAMES:
        if (FOLDER / name / "data" / "provenance").exists():
            assert isinstance(opened(name)[0].provenance.owners, list)
