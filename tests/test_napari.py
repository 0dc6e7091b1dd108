"""The reader plug-in, through npe2, which is how napari itself uses it."""

import json
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import volumekit
from tests.volume.sample import OFFSET, make
from volumekit import Volume
from volumekit.errors import OptionError, UnsupportedError
from volumekit.napari import napari_get_reader, read_layers

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from npe2 import PluginManager, PluginManifest, io_utils

PACKAGE = Path(volumekit.__file__).parent


@pytest.fixture
def manager(monkeypatch):
    """A napari that knows of nothing but this package."""
    manager = PluginManager()
    monkeypatch.setattr(PluginManager, "_PluginManager__instance", manager, raising=False)
    monkeypatch.setattr(PluginManager, "instance", classmethod(lambda cls: manager))
    manager.register(PluginManifest.from_file(PACKAGE / "napari.yaml"))
    return manager


def read(path):
    return io_utils.read([str(path)], stack=False, plugin_name="volumekit")


def test_the_entry_point_leads_to_the_manifest():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["napari.manifest"]["volumekit"].partition(":")
    assert (module, name) == ("volumekit", "napari.yaml")
    manifest = PluginManifest.from_file(PACKAGE / name)
    assert manifest.name == project["name"]
    manifest.validate_imports()


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("as_url", [False, True])
def test_images(tmp_path, channels, as_url):
    make(tmp_path / "v", channels=channels, dtype="uint8")
    volumekit.downsample(tmp_path / "v", mips=2)
    ((data, arguments, kind),) = read(f"precomputed://{tmp_path}/v" if as_url else tmp_path / "v")
    assert kind == "image"
    assert arguments["multiscale"] is True
    assert arguments["name"] == "v"
    assert arguments["scale"] == (40, 4, 4)
    assert arguments["translate"] == tuple((n + 0.5) * size for n, size in zip(OFFSET, (4, 4, 40), strict=True))[::-1]
    assert arguments.get("channel_axis") == (0 if channels > 1 else None)
    assert arguments["rgb"] is False
    assert len(data) == 3
    for mip, level in enumerate(data):
        expected = np.asarray(Volume(tmp_path / "v", mip=mip)).T
        np.testing.assert_array_equal(level.compute(), expected if channels > 1 else expected[0])
        np.testing.assert_array_equal(level[..., 2].compute(), (expected if channels > 1 else expected[0])[..., 2])


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize(("dtype", "expected"), [("uint32", "labels"), ("float32", "image")])
def test_labels(tmp_path, dtype, expected):
    _, array = make(tmp_path / "v", dtype=dtype)
    info = (tmp_path / "v" / "info").read_text()  # floats among labels: nobody should make them, some did
    (tmp_path / "v" / "info").write_text(info.replace('"image"', '"segmentation"'))
    ((data, arguments, kind),) = read(tmp_path / "v")
    assert kind == expected
    assert arguments["multiscale"] is False
    assert ("rgb" in arguments) == (expected == "image")
    np.testing.assert_array_equal(data.compute(), array.T[0])


@pytest.mark.usefixtures("manager")
def test_levels_that_cannot_be_read_are_left_out(tmp_path):
    volume, _ = make(tmp_path / "v", max_mip=2)
    info = (tmp_path / "v" / "info").read_text().replace('"8_8_40"', "7")
    (tmp_path / "v" / "info").write_text(info)
    ((data, arguments, _),) = read(tmp_path / "v")
    assert [level.shape for level in data] == [volume.mip_shape(mip)[2::-1] for mip in (0, 2)]
    assert arguments["scale"] == (40, 4, 4)


@pytest.mark.usefixtures("manager")
def test_names_and_colours_of_channels(tmp_path):
    volumekit.convert(np.zeros((9, 8, 7, 2), np.uint8), tmp_path / "a.zarr", voxel_size=(1, 1, 1), progress=False)
    document = tmp_path / "a.zarr" / "zarr.json"
    whole = json.loads(document.read_text())

    def arguments(*channels):
        whole["attributes"]["ome"]["omero"] = {"channels": channels}
        document.write_text(json.dumps(whole))
        ((_, arguments, kind),) = read(tmp_path / "a.zarr")
        assert (kind, arguments["channel_axis"]) == ("image", 0)
        return arguments

    both = arguments({"label": "DAPI", "color": "0000FF"}, {"label": "GFP", "color": "00ff00"})
    assert both["name"] == ["a.zarr DAPI", "a.zarr GFP"]
    assert both["colormap"] == ["#0000FF", "#00ff00"]
    bad = arguments({"label": "DAPI", "color": "blue"}, {"color": "00ff00"})
    assert bad["name"] == "a.zarr"
    assert "colormap" not in bad


def test_a_plane_reads_only_its_chunks(tmp_path):
    volume, array = make(tmp_path / "v")
    volume.delete(np.s_[:, :, 108:116])
    ((data, _, _),) = read_layers(str(tmp_path / "v"))
    np.testing.assert_array_equal(data[3].compute(), array[:, :, 3, 0].T)
    with pytest.raises(LookupError):
        data[9].compute()


def test_what_is_left_to_others(tmp_path):
    make(tmp_path / "v")
    for z in range(3):
        tifffile.imwrite(tmp_path / f"{z}.tif", np.zeros((4, 5), np.uint8))
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "info").write_text("{")
    for path in (tmp_path, tmp_path / "0.tif", tmp_path / "empty", tmp_path / "damaged", tmp_path / "nothing"):
        assert napari_get_reader(str(path)) is None
    assert napari_get_reader([str(tmp_path / "v")] * 2) is None
    assert napari_get_reader("nonsense://x") is None
    assert napari_get_reader(str(tmp_path / "v")) is read_layers
    assert read_layers([str(tmp_path / "v")])[0][1]["name"] == "v"


@pytest.fixture(params=[2, 3])
def plate(request, tmp_path):
    """A plate of three wells, of which one has two fields; rows are groups."""

    def group(path, attributes):
        said = attributes if request.param == 2 else {"ome": {"version": "0.5", **attributes}}
        zarr.open_group(tmp_path / "plate.zarr" / path, mode="w", zarr_format=request.param, attributes=said)

    wells = ["A/1", "A/2", "B/1"]
    group("", {"plate": {"wells": [{"path": path} for path in wells]}})
    for row in "AB":
        zarr.open_group(tmp_path / "plate.zarr" / row, mode="w", zarr_format=request.param)
    for well in wells:
        group(well, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        for field in "01":
            how = {"format": "ome-zarr", "zarr_version": request.param, "progress": False}
            place = tmp_path / "plate.zarr" / well / field
            volumekit.convert(np.full((9, 8, 7), int(field) + 1, np.uint8), place, **how)
    return tmp_path / "plate.zarr"


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("inside", ["", "A", "B/"])
def test_plates_say_what_could_be_opened(plate, inside):
    """No picture can be made of a plate, nor of its rows; who drops one is told what could be opened instead."""
    for reading in (read, lambda path: napari_get_reader(str(path))(str(path))):
        with pytest.raises(OptionError) as caught:
            reading(f"{plate}/{inside}" if inside else plate)
        told = str(caught.value)
        assert "is a plate of 3 wells: A/1, A/2, B/1, each with images, its fields;" in told
        assert "by the path of a field, such as A/1/0, A/1/1" in told
        assert (f"this lies in {plate}" in told) == bool(inside)


@pytest.mark.usefixtures("manager")
def test_wells_and_fields(plate):
    """The paths that are told can be opened; a well is its first field."""
    for path, value in (("A/1", 1), ("B/1/0", 1), ("B/1/1", 2)):
        ((data, _, kind),) = read(plate / path)
        assert (kind, int(np.asarray(data).max())) == ("image", value)


@pytest.mark.usefixtures("manager")
def test_versions_that_are_not_read(tmp_path):
    volumekit.convert(np.zeros((9, 8, 7), np.uint8), tmp_path / "a.zarr", progress=False)
    document = tmp_path / "a.zarr" / "zarr.json"
    document.write_text(document.read_text().replace('"0.5"', '"0.6"'))
    with pytest.raises(UnsupportedError, match=r"OME-Zarr 0\.6, which is not read"):
        read(tmp_path / "a.zarr")
