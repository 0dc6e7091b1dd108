"""Datasets that zarr-python, TensorStore, ome-zarr-py and scroll2zarr wrote read equal, voxel by voxel."""

import json
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.testing.datasets import python_only

FOLDER = Path(__file__).parent.parent / "golden" / "zarr"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/manifest.json"))


def opened(name, key):
    manifest = json.loads((FOLDER / name / "manifest.json").read_text())
    at = dict(manifest.get("at", {}))
    if not key.isdecimal():
        at = {"label": key}
    volume = Volume(FOLDER / name / "data", mip=int(key) if key.isdecimal() else 0, at=at or None)
    return volume, np.load(FOLDER / name / manifest["arrays"][key]), manifest


CASES = [(name, key) for name in NAMES for key in json.loads((FOLDER / name / "manifest.json").read_text())["arrays"]]


def test_there_are_datasets():
    assert len(NAMES) >= 10


@pytest.mark.parametrize("way", ["native", "python"])
@pytest.mark.parametrize(("name", "key"), CASES)
def test_reads_equal(name, key, way):
    volume, expected, manifest = opened(name, key)
    if way == "python":
        volume._format = python_only(volume._format)
        volume._forget()
    found = volume[...]
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype.newbyteorder("="))
    np.testing.assert_array_equal(found, expected)
    box = np.s_[1:6, 2:7, 1:4]
    if min(volume.shape[:3]) > 3:
        np.testing.assert_array_equal(volume[box], expected[box])
    if "resolution" in manifest and key == "0":
        assert volume.resolution.tolist() == manifest["resolution"]
    if "fill" in manifest:
        np.testing.assert_equal(volume.background_color, float(manifest["fill"]))
    assert volume.layer_type == ("image" if key.isdecimal() else "segmentation")
