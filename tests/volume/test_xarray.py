"""A volume as a labelled array."""

import importlib.util
import pickle

import dask.array as da
import numpy as np
import pytest
import xarray

from tests.volume.sample import OFFSET, make
from volumekit import Volume
from volumekit.errors import MissingChunkError, OptionError


@pytest.fixture(params=[1, 3], ids=["one channel", "three channels"])
def made(request, tmp_path):
    return make(tmp_path / "v", channels=request.param)


@pytest.mark.parametrize("chunks", ["auto", None, (16, 16, 8)], ids=str)
def test_voxels_and_their_places(made, chunks):
    volume, array = made
    labelled = volume.to_xarray(chunks=chunks)
    assert labelled.dims == ("x", "y", "z", "channel")
    assert labelled.name == "v"
    assert labelled.dtype == array.dtype
    np.testing.assert_array_equal(labelled.values, array)
    for axis, (name, size) in enumerate(zip("xyz", (4, 4, 40), strict=True)):
        expected = (np.arange(array.shape[axis]) + OFFSET[axis] + 0.5) * size
        np.testing.assert_array_equal(labelled[name].values, expected)
        assert labelled[name].attrs["units"] == "nm"
    np.testing.assert_array_equal(labelled.channel.values, range(array.shape[3]))
    assert (labelled.chunks is None) == (chunks is None)


@pytest.mark.parametrize("chunks", ["auto", None], ids=str)
def test_selecting(made, chunks):
    volume, array = made
    labelled = volume.to_xarray(chunks=chunks)
    np.testing.assert_array_equal(labelled.sel(x=slice(-18, -10)).values, array[:3])
    np.testing.assert_array_equal(labelled.sel(z=4070, method="nearest").values, array[:, :, 1])
    np.testing.assert_array_equal(labelled.isel(x=[30, 2], y=slice(None, None, -3)).values, array[[30, 2], ::-3])
    np.testing.assert_array_equal(
        labelled.transpose("z", "y", "x", "channel")[3].values, array.transpose(2, 1, 0, 3)[3]
    )
    points = {"x": xarray.DataArray([1, 5]), "y": xarray.DataArray([2, 7])}
    np.testing.assert_array_equal(labelled.isel(points).values, array[[1, 5], [2, 7]])
    np.testing.assert_array_equal(labelled.mean("z").values, array.mean(axis=2))


def test_only_what_is_selected_is_read(tmp_path):
    volume, array = make(tmp_path / "v")
    volume.delete(np.s_[11:27])
    for chunks in ("auto", None):
        labelled = volume.to_xarray(chunks=chunks)
        np.testing.assert_array_equal(labelled[:16].values, array[:16])
        with pytest.raises(MissingChunkError):
            labelled[:17].load()


@pytest.mark.parametrize(("unit", "length"), [("nm", 1), ("um", 1e-3), ("mm", 1e-6)])
def test_units(tmp_path, unit, length):
    volume, _ = make(tmp_path / "v", resolution=(4.5, 4, 40))
    labelled = volume.to_xarray(unit=unit)
    np.testing.assert_allclose(labelled.x[:2], np.array([-4.5, -3.5]) * 4.5 * length, rtol=1e-15)
    assert labelled.x.attrs["units"] == unit


def test_voxel_numbers(made):
    volume, array = made
    labelled = volume.to_xarray(unit="vx")
    np.testing.assert_array_equal(labelled.sel(x=11, y=slice(7, 9)).values, array[16, :3])
    assert labelled.x.dtype == np.int64


def test_the_mip_it_was_made_of(tmp_path):
    volume, _ = make(tmp_path / "v", max_mip=1, fill_missing=True)
    labelled = Volume(volume.cloudpath, mip=1, fill_missing=True, background_color=3).to_xarray()
    assert labelled.attrs["resolution"] == [8, 8, 40]
    assert labelled.attrs["voxel_offset"] == [-3, 3, 100]
    assert (labelled.attrs["mip"], labelled.attrs["url"]) == (1, volume.cloudpath)
    assert (labelled.values == 3).all()


@pytest.mark.parametrize("chunks", ["auto", None], ids=str)
def test_it_is_pickled_lazily(made, chunks):
    volume, array = made
    data = pickle.dumps(volume.to_xarray(chunks=chunks))
    assert len(data) < array.nbytes
    np.testing.assert_array_equal(pickle.loads(data).values, array)


def test_it_is_stored_as_netcdf_and_zarr_are(made):
    labelled = made[0].to_xarray()
    stored = labelled.to_dataset().to_zarr("memory://test_xarray", mode="w", consolidated=False)
    again = xarray.open_zarr(stored.zarr_group.store, consolidated=False)["v"]
    xarray.testing.assert_identical(again.load(), labelled.load())


def test_without_dask(made, monkeypatch):
    volume, array = made
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "dask" else found(name, *rest))
    labelled = volume.to_xarray()
    assert labelled.chunks is None
    np.testing.assert_array_equal(labelled[3:5].values, array[3:5])
    assert isinstance(volume.to_xarray(chunks=16).data, da.Array)


@pytest.mark.parametrize(("option", "value"), [("unit", "furlong"), ("unit", None), ("chunks", "much")])
def test_impossible_options(made, option, value):
    with pytest.raises(OptionError):
        made[0].to_xarray(**{option: value})


def test_more_coordinates_than_memory(tmp_path):
    info = Volume.create_new_info(1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (2**60, 64, 64))
    with pytest.raises(OptionError, match="do not fit"):
        Volume(tmp_path / "v", info=info).to_xarray()
