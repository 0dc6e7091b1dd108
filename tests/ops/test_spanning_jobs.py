"""Jobs that write one position of an axis into chunks that hold several."""

import numpy as np
import pytest
import zarr

from volumekit import Volume, downsample, transfer, verify
from volumekit.errors import OptionError


def film(path, seed=0, **how):
    """Write films of three positions, (t, z, y, x)."""
    data = np.random.default_rng(seed).integers(0, 256, (3, 8, 8, 8)).astype("u1")
    zarr.create_array(path, data=data, chunks=(2, 4, 4, 4), dimension_names=list("tzyx"), **how)
    return data


@pytest.mark.parametrize("processes", [None, 2])
@pytest.mark.parametrize("compressors", ["auto", None])
def test_levels_of_all_positions(tmp_path, compressors, processes):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    axes = [{"name": name, "type": "space" if name != "t" else "time"} for name in "tzyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 1]}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    films = film(tmp_path / "a.zarr/0", compressors=compressors)
    how = {"mip": 0, "factor": (2, 2, 2), "overwrite": True, "progress": False}
    for _ in range(2):
        downsample(tmp_path / "a.zarr", processes=processes, **how)
        assert group["1"].chunks == (2, 4, 4, 4)
        for t, data in enumerate(films):
            twin = downsample(Volume.from_numpy(data.T, tmp_path / "twin", overwrite=True), **how)
            found = Volume(tmp_path / "a.zarr", at={"t": t}).download((), 1)
            np.testing.assert_array_equal(found, twin.download((), 1))


def test_transfer_from_and_to_one_position(tmp_path):
    one, two = film(tmp_path / "a.zarr", 1), film(tmp_path / "b.zarr", 2)
    source, target = Volume(tmp_path / "a.zarr", at={"t": 1}), Volume(tmp_path / "b.zarr", at={"t": 0})
    with pytest.raises(OptionError, match="the target has 3 positions of t"):
        transfer(source, tmp_path / "b.zarr", overwrite=True, progress=False)
    for _ in range(2):
        transfer(source, target, overwrite=True, progress=False)
        written = zarr.open_array(tmp_path / "b.zarr")[...]
        np.testing.assert_array_equal(written[0], one[1])
        np.testing.assert_array_equal(written[1:], two[1:])
    assert verify(source, target, progress=False).equal
    with pytest.raises(OptionError, match="leave out checksums"):
        verify(source, target, checksums=True, progress=False)
