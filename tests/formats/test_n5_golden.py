"""Datasets that z5py, zarr-python and lz4-java wrote read equal, voxel by voxel."""

import json
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.testing.datasets import python_only

FOLDER = Path(__file__).parent.parent / "golden" / "n5"
MANIFESTS = {path.parent.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*/manifest.json"))}
CASES = [(name, key) for name, manifest in MANIFESTS.items() for key in manifest["arrays"]]


def test_there_are_datasets():
    assert len(MANIFESTS) >= 3
    assert len(CASES) >= 15


@pytest.mark.parametrize("way", ["native", "python"])
@pytest.mark.parametrize(("name", "key"), CASES)
def test_reads_equal(name, key, way):
    volume, expected = Volume(FOLDER / name / "data" / key), np.load(FOLDER / name / MANIFESTS[name]["arrays"][key])
    if way == "python":
        volume._format = python_only(volume._format)
        volume._forget()
    assert volume.dtype == expected.dtype
    np.testing.assert_array_equal(volume[...], expected)
    np.testing.assert_array_equal(volume[1:6, 2:5, 1:4], expected[1:6, 2:5, 1:4])


def test_a_pyramid_of_cosem():
    volume = Volume(FOLDER / "zarr_python" / "data" / "cosem")
    assert [level.resolution for level in volume.levels] == [(4, 4, 3.24), (8, 8, 6.48)]
    assert [level.offset for level in volume.levels] == [(0, 0, 0), (0, 0, 0)]
    for mip in (0, 1):
        expected = np.load(FOLDER / "zarr_python" / f"expected_cosem_s{mip}.npy")
        np.testing.assert_array_equal(volume.download((), mip), expected)


def test_a_container_says_what_is_in_it():
    with pytest.raises(Exception, match=r"an N5 container without a volume at its root; open one of .*cosem"):
        Volume(FOLDER / "zarr_python" / "data")
