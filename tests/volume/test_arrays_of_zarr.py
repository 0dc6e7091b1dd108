"""zarr data as arrays of other libraries: other types, orders, fill values and axes than precomputed data have."""

import dask.array as da
import numpy as np
import pytest
import zarr

from volumekit import Volume, from_dask
from volumekit.errors import MissingChunkError
from volumekit.napari import read_layers

KINDS = [("bool", True), (">u2", 7), ("<f8", float("nan")), ("|i1", -3), ("<f2", 1.5)]


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0])
def made(request, tmp_path):
    """Return a zarr array whose last chunks are missing, and its values."""
    dtype, fill = request.param
    values = np.random.default_rng(2).integers(0, 100, (21, 30, 37)).astype(dtype)
    values[16:] = fill
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=values.shape, chunks=(8, 16, 10), dtype=dtype, fill_value=fill, zarr_format=2
    )
    array[:16] = values[:16]
    return tmp_path / "a.zarr", values


def test_dask(made):
    path, values = made
    np.testing.assert_array_equal(Volume(path).to_dask().compute(), values.T[..., None])


def test_zarr_store(made):
    path, values = made
    shown = zarr.open(Volume(path).to_zarr_store())
    np.testing.assert_array_equal(shown[:], values)
    assert shown.nchunks_initialized == 2 * 2 * 4
    np.testing.assert_array_equal(da.from_zarr(shown).compute(scheduler="threads"), values)
    with pytest.raises(MissingChunkError):
        zarr.open(Volume(path, fill_missing=False).to_zarr_store())[:]


def test_xarray(made):
    path, values = made
    np.testing.assert_array_equal(Volume(path).to_xarray(chunks=None).values, values.T[..., None])


def test_stored_back(made):
    path, values = made
    new = np.random.default_rng(3).integers(0, 2, (37, 30, 21)).astype(values.dtype)
    volume = Volume(path)
    before = volume.to_dask().name
    from_dask(da.from_array(new, chunks=7), volume)
    np.testing.assert_array_equal(zarr.open(path, mode="r")[:], new.T)
    assert volume.to_dask().name != before


@pytest.fixture
def movie(tmp_path):
    """Return an OME-Zarr image of five axes and two levels, and its values."""
    group = zarr.create_group(tmp_path / "m.zarr", zarr_format=3)
    values = np.random.default_rng(4).integers(0, 255, (3, 2, 9, 20, 30), np.uint8)
    datasets = []
    for level in range(2):
        part = values[..., :: 2**level, :: 2**level]
        group.create_array(str(level), data=part, chunks=(1, 1, 4, 8, 8), dimension_names=["t", "c", "z", "y", "x"])
        scale = [1.0, 1.0, 50.0, 10.0 * 2**level, 10.0 * 2**level]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return tmp_path / "m.zarr", values


def test_a_position_of_a_further_axis(movie):
    path, values = movie
    names = set()
    for t in range(3):
        volume = Volume(path, at={"t": t})
        np.testing.assert_array_equal(volume.to_dask().compute(), values[t].T)
        np.testing.assert_array_equal(
            volume.to_dask(chunks=(16, 8, 4)).compute(scheduler="processes", num_workers=1), values[t].T
        )
        group = zarr.open(volume.to_zarr_store(multiscale=True))
        np.testing.assert_array_equal(group["0"][:], values[t])
        np.testing.assert_array_equal(group["1"][:], values[t, ..., ::2, ::2])
        assert group["1"].chunks == (1, 4, 8, 8)
        names.add(volume.to_dask().name)
    assert len(names) == 3


def test_napari(movie):
    path, values = movie
    ((data, arguments, kind),) = read_layers(str(path))
    assert (kind, arguments["multiscale"], arguments["channel_axis"]) == ("image", True, 0)
    assert arguments["scale"] == (50, 10, 10)
    np.testing.assert_array_equal(data[1].compute(), values[0, ..., ::2, ::2])


def test_stored_at_a_position(movie):
    path, values = movie
    from_dask(da.from_array(255 - values[0].T, chunks=9), Volume(path, at={"t": 1}))
    values[1] = 255 - values[0]
    np.testing.assert_array_equal(zarr.open(path, mode="r")["0"][:], values)
