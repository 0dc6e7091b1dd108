"""Volumes as a real browser draws them: nothing fails to load, and known places have the right colours."""

import asyncio
import subprocess
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from PIL import Image

from tests.view.devtools import examine, needs_browser, visit
from volumekit import Volume, serve
from volumekit.model.url import parse_url
from volumekit.storage import open_store
from volumekit.view.viewer import Viewer

pytestmark = needs_browser

PATIENCE = 120.0
"""Seconds, for machines that are busy with other things."""

SHAPE, OFFSET, RESOLUTION = (96, 64, 20), (-7, 30, 100), (8, 8, 40)
Z = 9
GREYS = {(0, 0): 40, (1, 0): 90, (0, 1): 150, (1, 1): 210}
COLOURS = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255), 4: (255, 255, 0)}
PLACES = {(12, 10): (0, 0), (84, 12): (1, 0), (10, 55): (0, 1), (80, 50): (1, 1)}
"""Voxels of the plane, and which quarter of it they lie in."""


def quarters(values, dtype):
    """Return a volume whose quarters across z have these values, in the plane Z only."""
    array = np.zeros(SHAPE, dtype)
    for (x, y), value in values.items():
        array[x * 48 : x * 48 + 48, y * 32 : y * 32 + 32, Z] = value
    return array


def image():
    return quarters(GREYS, np.uint8)


def labels():
    return quarters({place: n + 1 for n, place in enumerate(GREYS)}, np.uint64)


def write_precomputed(place, array, *, sharded):
    kind = {} if array.dtype == np.uint8 else {"layer_type": "segmentation", "encoding": "compressed_segmentation"}
    how = {"resolution": RESOLUTION, "voxel_offset": OFFSET, "chunk_size": (32, 32, 8), "sharding": sharded, **kind}
    Volume.from_numpy(array, place, **how)


def write_zarr(folder, array, *, sharded):
    """Write OME-Zarr 0.5 as zarr-python does."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=3)
    shards = (16, 64, 64) if sharded else None
    names = {"dimension_names": ["z", "y", "x"]}
    stored = group.create_array("0", shape=array.T.shape, chunks=(8, 32, 32), shards=shards, dtype=array.dtype, **names)
    stored[:] = array.T
    places = [
        {"type": "scale", "scale": list(RESOLUTION[::-1])},
        {
            "type": "translation",
            "translation": [(o + 0.5) * r for o, r in zip(OFFSET[::-1], RESOLUTION[::-1], strict=True)],
        },
    ]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": places}]}
    label = {"image-label": {}} if array.dtype == np.uint64 else {}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], **label}


def upload(folder, url):
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    open_store(parse_url(url)).commit(files).result()


def plane(viewer):
    """Let a viewer show one plane, four pixels for a voxel, and nothing else."""
    x, y, _ = (o + n / 2 for o, n in zip(OFFSET, SHAPE, strict=True))
    viewer.state |= {
        "layout": "xy", "position": [x, y, OFFSET[2] + Z + 0.5], "crossSectionScale": 0.25, "showAxisLines": False,
        "showScaleBar": False, "showDefaultAnnotations": False, "crossSectionBackgroundColor": "#000000",
    }  # fmt: skip
    return viewer


def pixel(panel, x, y):
    """Return the colour at the middle of a voxel of the plane."""
    height, width = panel.shape[:2]
    column = width / 2 + (x + 0.5 - SHAPE[0] / 2) * 4
    row = height / 2 + (y + 0.5 - SHAPE[1] / 2) * 4
    return tuple(int(n) for n in panel[int(row), int(column)])


CASES = [
    ("image", "precomputed", "plain", "local"),
    ("image", "precomputed", "sharded", "s3"),
    ("image", "zarr", "plain", "s3"),
    ("image", "zarr", "sharded", "local"),
    ("labels", "precomputed", "plain", "s3"),
    ("labels", "precomputed", "sharded", "local"),
    ("labels", "zarr", "plain", "local"),
    ("labels", "zarr", "sharded", "s3"),
]
"""Every pair of choices is among them."""


@pytest.mark.parametrize(("what", "shown", "layout", "where"), CASES)
def test_drawn(running, tmp_path, quick_bucket, what, shown, layout, where):
    array = image() if what == "image" else labels()
    folder, sharded = tmp_path / "data", layout == "sharded"
    if shown == "zarr":
        write_zarr(folder, array, sharded=sharded)
        if where == "s3":
            upload(folder, f"{quick_bucket}/data")
    else:
        write_precomputed(folder if where == "local" else f"{quick_bucket}/data", array, sharded=sharded)
    server = running(folder if where == "local" else f"{quick_bucket}/data")
    viewer = plane(Viewer(server, server.names))
    (layer,) = viewer.state["layers"]
    layer["source"] = server.source(format=shown)
    if what == "image":
        layer["shaderControls"] = {"normalized": {"range": [0, 255]}}
    else:
        assert set(layer["segments"]) == {"1", "2", "3", "4"}
        colours = {str(n): "#{:02x}{:02x}{:02x}".format(*colour) for n, colour in COLOURS.items()}
        layer |= {"segmentColors": colours, "selectedAlpha": 1, "saturation": 1}
    seen = examine(viewer.url)
    assert seen.errors == []
    assert (seen.ready, seen.failed) == (True, 0)
    assert seen.drawn >= 6
    assert seen.hosts == {"127.0.0.1"}
    panel = seen.panel()
    for (x, y), quarter in PLACES.items():
        number = list(GREYS).index(quarter) + 1
        expected = (GREYS[quarter],) * 3 if what == "image" else COLOURS[number]
        assert np.allclose(pixel(panel, x, y), expected, atol=2), (x, y)
    assert pixel(panel, -5, 10) == pixel(panel, 100, 10) == (0, 0, 0)


def test_several_layers_and_the_contrast(tmp_path):
    """Labels lie over an image, whose darkest and brightest values become black and white."""
    dim = image() // 10
    Volume.from_numpy(dim, tmp_path / "image", resolution=RESOLUTION, voxel_offset=OFFSET, chunk_size=(32, 32, 8))
    write_precomputed(tmp_path / "labels", np.where(labels() == 2, labels(), 0), sharded=False)
    viewer = Volume(tmp_path / "image").view(Volume(tmp_path / "labels"), browser=False)
    picture = np.asarray(plane(viewer).screenshot(tmp_path / "picture.png", timeout=PATIENCE))
    assert np.array_equal(picture, np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")))
    low, high = viewer.state["layers"][0]["shaderControls"]["normalized"]["range"]
    assert low == 0
    assert high in (15, 21)
    bright, coloured = pixel(picture, 80, 50), pixel(picture, 84, 12)
    assert bright == (255, 255, 255)
    assert max(coloured) - min(coloured) > 40
    dark = pixel(picture, 12, 10)
    assert max(dark) - min(dark) == 0
    assert 0 < dark[0] < 90


def test_the_link_of_a_dataset(running, tmp_path):
    """Behind a prefix and a token; the whole volume is in view, and as large as the panels allow."""
    array = np.full((60, 60, 60), 100, np.uint8)
    array[..., 30] = 200
    Volume.from_numpy(array, tmp_path / "data", resolution=(8, 8, 8), chunk_size=(32, 32, 32))
    server = running(tmp_path / "data", prefix="/lab", token="secret")
    seen = examine(f"{server.url}/-/view/data")
    assert (seen.ready, seen.failed, seen.errors) == (True, 0, [])
    panel = seen.panel()
    height, width = panel.shape[:2]
    white, background = (255, 255, 255), (128, 128, 128)
    beside = [tuple(panel[height // 2 + 15, width // 2 + shift].tolist()) for shift in (-height // 3, height // 3)]
    assert beside == [white, white]
    assert tuple(panel[height // 2 + 15, width // 2 + height // 2 + 5].tolist()) == background


GREYS_OF = {"stack": (40, 90, 150, 210), "zarr2": (200, 60, 120, 30), "n5": (10, 250, 100, 180)}


def write_formats(folder):
    """Write a folder of TIFFs, a zarr v2 array and an N5 dataset, as other programs do."""
    arrays = {name: quarters(dict(zip(GREYS, values, strict=True)), np.uint8) for name, values in GREYS_OF.items()}
    (folder / "stack").mkdir()
    for z, plane in enumerate(arrays["stack"].T):
        tifffile.imwrite(folder / f"stack/z{z:03}.tif", plane)
    how = {"chunks": (8, 32, 32), "zarr_format": 2}
    zarr.create_array(str(folder / "zarr2.zarr"), data=np.ascontiguousarray(arrays["zarr2"].T), **how)
    metadata = {"dimensions": SHAPE, "blockSize": (32, 32, 8), "dataType": "uint8", "compression": {"type": "gzip"}}
    store = {"driver": "n5", "kvstore": f"file://{folder}/n5/", "metadata": metadata}
    tensorstore.open(store, create=True).result()[...] = arrays["n5"]
    return [folder / name for name in ("stack", "zarr2.zarr", "n5")]


def test_other_formats_over_each_other(tmp_path):
    """One is red, one green, one blue; where the layers lie over each other the colours add up."""
    first, *others = map(Volume, write_formats(tmp_path))
    viewer = first.view(*others, browser=False)
    assert len({layer["name"] for layer in viewer.state["layers"]}) == len(GREYS_OF)
    x, y, _ = (n / 2 for n in SHAPE)
    viewer = plane(viewer)
    viewer.state |= {"position": [x, y, Z + 0.5]}
    for number, layer in enumerate(viewer.state["layers"]):
        colour = ", ".join("toNormalized(getDataValue())" if n == number else "0.0" for n in range(3))
        layer |= {"shader": f"void main() {{ emitRGB(vec3({colour})); }}", "blend": "additive", "opacity": 1}
        layer.pop("shaderControls")
    picture = np.asarray(viewer.screenshot(timeout=PATIENCE))
    for (x, y), quarter in PLACES.items():
        expected = [values[list(GREYS).index(quarter)] for values in GREYS_OF.values()]
        assert np.allclose(pixel(picture, x, y), expected, atol=2), (x, y)


def test_a_source_that_cannot_be_read_is_seen(tmp_path):
    """The tests above can fail: a chunk that is damaged, and a source that is not there."""
    write_precomputed(tmp_path / "data", image(), sharded=False)
    (tmp_path / "data/8_8_40/25-57_30-62_108-116").write_bytes(b"damaged")
    with serve(tmp_path / "data") as server:
        viewer = plane(Viewer(server, server.names))
        seen = examine(viewer.url)
        assert not seen.ready
        assert seen.failed == 1
        viewer.state["layers"][0]["source"] += "-not-there"
        seen = examine(viewer.url)
        assert seen.errors
        assert not seen.ready


def test_a_page_tells_when_its_server_is_gone(tmp_path):
    """And that it is back: the page need not be loaded again."""
    write_precomputed(tmp_path / "data", image(), sharded=False)
    servers = [serve(tmp_path / "data")]
    port = urlsplit(servers[0].url).port
    asked = "document.querySelector('#volumekit-gone')?.textContent ?? ''"
    told = []

    async def act(tools, seen, end):
        async def wait_for(gone):
            while time.monotonic() < end:
                found = await tools.evaluate(asked)
                if found is not None and bool(found) == gone:
                    return told.append(found)
                await asyncio.sleep(0.1)
            raise TimeoutError

        while not await tools.evaluate("typeof viewer !== 'undefined' && viewer.isReady()"):
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)  # it has asked once meanwhile
        await wait_for(gone=False)
        servers.pop().close()
        await wait_for(gone=True)
        servers.append(serve(tmp_path / "data", port=port))
        await wait_for(gone=False)

    try:
        visit(Viewer(servers[0], servers[0].names).url, act)
    finally:
        for server in servers:
            server.close()
    assert [bool(text) for text in told] == [False, True, False]
    assert "does not answer" in told[1]


def test_the_command(tmp_path):
    write_precomputed(tmp_path / "data", image(), sharded=False)
    program = "from volumekit.cli.main import main; main()"
    command = [sys.executable, "-c", program, "view", str(tmp_path / "data"), "--screenshot", str(tmp_path / "out.png")]
    done = subprocess.run([*command, "--size", "640,480"], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'out.png'}\n", "")
    picture = np.asarray(Image.open(tmp_path / "out.png").convert("L"), float)
    assert picture.shape == (480, 640)
    assert picture.std() > 10
