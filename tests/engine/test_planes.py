"""The fast way to read stacks gives what the ordinary way gives."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.formats.images import planes, write_folder
from volumekit.engine import compiled_files
from volumekit.engine.planes import check_planes, read_planes, reads_planes
from volumekit.errors import CorruptChunkError, MissingChunkError, ShapeError, StorageError
from volumekit.model.bbox import Bbox
from volumekit.volume.volume import Volume

BOXES = [Bbox((0, 0, 0), (37, 25, 5)), Bbox((3, 2, 1), (30, 20, 4)), Bbox((0, 7, 2), (37, 8, 3))]
OPTIONS = {
    "none": {},
    "big-endian": {"byteorder": ">"},
    "lzw": {"compression": "lzw", "predictor": True},
    "tiles": {"compression": "zlib", "tile": (16, 16)},
}


def same(volume: Volume, box: Bbox) -> None:
    array = volume.array()
    x, y, z = (int(n) for n in box.size())
    expected = np.asarray(volume.download(box)).transpose(2, 1, 0, 3)
    out = np.zeros((z, y, x, array.level.channels), array.level.dtype)
    read_planes(array, box, out)
    assert np.array_equal(out, expected)
    out[...] = 0
    read_planes(array, box, out, threads=0)
    assert np.array_equal(out, expected)
    fortran = array.empty((x, y, z, array.level.channels))
    read_planes(array, box, fortran.transpose(2, 1, 0, 3))
    assert np.array_equal(fortran.transpose(2, 1, 0, 3), expected)
    if array.level.channels == 1:
        read_planes(array, box, out[..., 0])
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_same_voxels_as_a_download(tmp_path, paged, kind, box):
    stack = planes(5, dtype=np.uint16)
    if paged:
        tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", **OPTIONS[kind])
    else:
        write_folder(tmp_path, stack, **OPTIONS[kind])
    volume = Volume(tmp_path)
    check_planes(volume.array())
    same(volume, box)
    assert np.array_equal(np.asarray(volume[:, :, :])[..., 0].T, stack)


@pytest.fixture
def calls(monkeypatch):
    """How many planes compiled code was asked for, and whether it read them."""
    found, real = [], compiled_files.read_blocks

    def watched(files, *rest):
        found.append((len(files), real(files, *rest)))
        return found[-1][1]

    monkeypatch.setattr(compiled_files, "read_blocks", watched)
    return found


@pytest.mark.parametrize("order", ["<", ">"])
def test_compiled_code_reads_whole_rows_of_files_in_native_order(tmp_path, calls, order):
    stack = planes(5, dtype=np.uint16)
    write_folder(tmp_path, stack, byteorder=order)
    array = Volume(tmp_path).array()
    check_planes(array)
    for box in BOXES:
        x, y, z = (int(n) for n in box.size())
        out = np.zeros((z, y, x, 1), np.uint16)
        read_planes(array, box, out, threads=0)
        (a, b, c), (d, e, f) = box.minpt.tolist(), box.maxpt.tolist()
        assert np.array_equal(out[..., 0], stack[c:f, b:e, a:d])
    assert calls == ([(5, True), (1, True)] if order == "<" else [])


def test_few_files_are_open_at_once(tmp_path, monkeypatch, calls):
    monkeypatch.setattr("volumekit.engine.planes.AT_ONCE", 2)
    stack = planes(5)
    write_folder(tmp_path, stack)
    array = Volume(tmp_path).array()
    check_planes(array)
    out = np.zeros((5, 25, 37), np.uint8)
    read_planes(array, array.level.bounds, out, threads=0)
    assert np.array_equal(out, stack)
    assert calls == [(2, True), (2, True), (1, True)]
    read_planes(array, Bbox((0, 0, 2), (37, 25, 2)), out[:0], threads=0)
    out.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        read_planes(array, array.level.bounds, out, threads=0)


@pytest.mark.parametrize("damage", ["cut", "gone", "folder"])
def test_what_compiled_code_cannot_read_is_named(tmp_path, calls, damage):
    write_folder(tmp_path, planes(5))
    array = Volume(tmp_path).array()
    check_planes(array)
    path = sorted(tmp_path.iterdir())[3]
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "folder":
        path.mkdir()
    with pytest.raises((CorruptChunkError, MissingChunkError, StorageError), match=path.name):
        read_planes(array, array.level.bounds, np.zeros((5, 25, 37), np.uint8), threads=0)
    assert calls == ([] if damage == "gone" else [(5, False)])


def test_colours(tmp_path):
    write_folder(tmp_path, planes(5, (25, 37, 3)))
    for box in BOXES:
        same(Volume(tmp_path), box)


def test_missing_planes_follow_the_volumes_rule(tmp_path):
    for z in (4, 6):
        tifffile.imwrite(tmp_path / f"{z}.tif", planes(1)[0])
    options = {"z_from_name": True}
    with pytest.warns(UserWarning, match="number 5"):
        volume = Volume(tmp_path, storage_options=options, background_color=9)
    check_planes(volume.array())
    same(volume, Bbox((0, 0, 4), (37, 25, 7)))
    out = np.zeros((1, 25, 37), np.uint8)
    read_planes(volume.array(), Bbox((0, 0, 5), (37, 25, 6)), out)
    assert (out == 9).all()
    with pytest.raises(MissingChunkError, match="z=5"):
        read_planes(volume.array(fill_missing=False), volume.bounds, np.zeros((3, 25, 37), np.uint8))


def test_arrays_that_do_not_fit(tmp_path):
    array = Volume(write_folder(tmp_path / "s", planes(2))).array()
    for out in (np.zeros((2, 25, 36), np.uint8), np.zeros((2, 25, 37), np.uint16), np.zeros((25, 37), np.uint8)):
        with pytest.raises(ShapeError, match="planes of"):
            read_planes(array, array.level.bounds, out)


def test_damage_is_named_and_stops_the_rest(tmp_path):
    folder = write_folder(tmp_path, planes(50), compression="zlib")
    data = (folder / "020.tif").read_bytes()
    (folder / "020.tif").write_bytes(data[:-90] + bytes(50) + data[-40:])
    volume = Volume(folder)
    with pytest.raises(CorruptChunkError) as caught:
        read_planes(volume.array(), volume.bounds, np.zeros((50, 25, 37), np.uint8))
    assert caught.value.key == "020.tif"


def test_only_stacks_have_planes(tmp_path):
    volume = Volume.from_numpy(np.zeros((4, 4, 4), np.uint8), tmp_path / "v")
    assert not reads_planes(volume.array())
    with pytest.raises(TypeError, match="precomputed"):
        check_planes(volume.array())


WAITING = """
import sys
import numpy as np
from volumekit import Volume
from volumekit.engine.planes import check_planes, read_planes
volume = Volume(sys.argv[1], parallel=1)
if sys.argv[2] == "check":
    check_planes(volume.array())
else:
    read_planes(volume.array(), volume.bounds, np.zeros((5, 25, 37), np.uint8))
"""


@pytest.mark.parametrize("what", ["check", "read"])
def test_one_thread_does_not_wait_for_itself(tmp_path, what):
    tifffile.imwrite(tmp_path / "x.tif", planes(5), photometric="minisblack")
    subprocess.run([sys.executable, "-c", WAITING, str(tmp_path), what], check=True, timeout=20)


@pytest.mark.parametrize(
    ("name", "options", "least", "most"),
    [
        ("whole.tif", {}, 0, 0),
        ("tiles.tif", {"compression": "zlib", "tile": (64, 64)}, 64 * 64, 64 * 64 * 2.1),
        ("one-strip.tif", {"compression": "zlib", "rowsperstrip": 400}, 400 * 600, 400 * 600 * 2.1),
        ("a.png", {}, 400 * 600, 400 * 600 * 2.1),
        ("a.jpg", {}, 400 * 600, 400 * 600 * 2.1),
    ],
)
def test_scratch_is_what_decodes_by_itself(tmp_path, name, options, least, most):
    plane = np.random.default_rng(0).integers(0, 255, (400, 600), np.uint8)
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, plane, **options)
    else:
        Image.fromarray(plane).save(tmp_path / name)
    size = (tmp_path / name).stat().st_size if least == 400 * 600 and not name.endswith("jpg") else 0
    found = check_planes(Volume(tmp_path).array())
    assert max(least, least + size * 0.99) <= found <= most
