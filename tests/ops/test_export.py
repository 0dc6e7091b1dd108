"""Voxels out of a volume into image files."""

import errno
import gzip

import imagecodecs
import numpy as np
import pytest
import tifffile

from volumekit.errors import (
    MissingChunkError,
    NoSpaceError,
    OptionError,
    OutOfBoundsError,
    ShapeError,
    StorageError,
    UnsupportedError,
)
from volumekit.model.bbox import Bbox
from volumekit.ops import export as export_module
from volumekit.ops import export_files
from volumekit.ops.export import export
from volumekit.volume.volume import Volume

KINDS = [("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint16", 1), ("int16", 2), ("float32", 1), ("uint64", 1)]
OFFSET, SIZE = (5, -7, 95), (40, 30, 20)


def make(folder, dtype="uint8", channels=1):
    """A volume and its voxels, (x, y, z, channel)."""
    array = np.random.default_rng(3).integers(0, 200, (*SIZE, channels)).astype(dtype)
    volume = Volume.from_numpy(
        array, folder / "volume", voxel_offset=OFFSET, resolution=(4, 8, 40), chunk_size=(16, 16, 8)
    )
    return volume, array


def names(folder):
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def pictures(array, along):
    """The planes along an axis as pictures: (plane, v, u[, channel])."""
    stack = np.moveaxis(array, along, 0).swapaxes(1, 2)
    return stack[..., 0] if stack.shape[-1] == 1 else stack


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("axis", "xyz")
def test_tiff_file(tmp_path, dtype, channels, axis):
    volume, array = make(tmp_path, dtype, channels)
    path = export(volume, tmp_path / "new" / "out.tif", axis=axis)
    assert path == tmp_path / "new" / "out.tif"
    expected = pictures(array, "xyz".index(axis))
    stored = tifffile.imread(path)
    assert stored.dtype == array.dtype
    assert np.array_equal(stored, expected)
    again = np.asarray(Volume(path)[:, :, :]).transpose(2, 1, 0, 3)
    assert np.array_equal(again.reshape(expected.shape), expected)
    assert names(path.parent) == ["out.tif"]


def test_tiff_file_tells_the_voxel_size(tmp_path):
    volume, _ = make(tmp_path)
    with tifffile.TiffFile(export(volume, tmp_path / "out.tif", axis="y")) as file:
        assert file.imagej_metadata["unit"] == "nm"
        assert file.imagej_metadata["spacing"] == 8
        assert file.pages[0].resolution == (1 / 4, 1 / 40)
        assert not file.is_bigtiff
        assert len(file.pages) == 30


def test_large_files_are_bigtiff(tmp_path, monkeypatch):
    volume, array = make(tmp_path)
    monkeypatch.setattr(export_files, "_BIG", 1000)
    path = export(volume, tmp_path / "out.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
    assert np.array_equal(tifffile.imread(path), pictures(array, 2))


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_folder_and_back(tmp_path, dtype, channels):
    volume, array = make(tmp_path, dtype, channels)
    path = export(volume, f"{tmp_path}/planes/", box=np.s_[10:30, 0:10, 98:104])
    assert names(path) == ["z098.tif", "z099.tif", *(f"z{z}.tif" for z in range(100, 104))]
    again = Volume(path, storage_options={"z_from_name": True})
    assert again.bounds == Bbox((0, 0, 98), (20, 10, 104))
    assert np.array_equal(again[:, :, :], array[5:25, 7:17, 3:9])


def test_folder_across_zero(tmp_path):
    volume, _ = make(tmp_path)
    path = export(volume, tmp_path / "planes", axis="y", box=np.s_[:, -2:2, :])
    assert names(path) == ["y-1.tif", "y-2.tif", "y0.tif", "y1.tif"]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_numpy_file(tmp_path, dtype, channels):
    volume, array = make(tmp_path, dtype, channels)
    stored = np.load(export(volume, tmp_path / "out.npy", axis="x"))
    assert stored.flags.f_contiguous
    assert stored.dtype == array.dtype
    assert np.array_equal(stored, array)


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("along", [0, 1, 2])
def test_one_plane_as_png(tmp_path, dtype, channels, along):
    volume, array = make(tmp_path, dtype, channels)
    index = [slice(None)] * 3
    index[along] = OFFSET[along] + 4
    path = tmp_path / "out.png"
    if dtype in ("uint8", "uint16") and channels <= 4:
        export(volume, path, box=tuple(index))
        expected = pictures(array, along)[4]
        assert np.array_equal(imagecodecs.png_decode(path.read_bytes()), expected)
    else:
        with pytest.raises(UnsupportedError, match=r"png holds uint8 and uint16 .* \.tif, a folder or \.npy"):
            export(volume, path, box=tuple(index))
        assert not path.exists()


def test_one_plane_as_jpeg(tmp_path):
    for channels in (1, 3):
        (tmp_path / str(channels)).mkdir()
        ramp = np.broadcast_to(np.arange(0, 160, 4, dtype=np.uint8)[:, None, None, None], (*SIZE, channels))
        volume = Volume.from_numpy(ramp, tmp_path / str(channels) / "v")
        path = export(volume, tmp_path / f"{channels}.jpg", box=np.s_[:, :, 3])
        stored = imagecodecs.jpeg8_decode(path.read_bytes()).astype(int)
        assert np.abs(stored - pictures(ramp, 2)[3]).max() <= 3
    volume, _ = make(tmp_path, "uint16")
    with pytest.raises(UnsupportedError, match="jpg holds uint8"):
        export(volume, tmp_path / "x.jpg", box=np.s_[:, :, 100])


def test_levels_boxes_in_units_and_channels(tmp_path):
    volume, array = make(tmp_path, "int16", 2)
    volume.add_scale((2, 2, 1))
    volume[:, :, :, 0] = array[..., 0]
    stored = np.load(export(volume, tmp_path / "a.npy", box=Bbox((20, -56, 3800), (40, 0, 3880), unit="nm")))
    assert np.array_equal(stored, array[:5, :7, :2])
    stored = np.load(export(volume, tmp_path / "b.npy", box=np.s_[:, :, :, 1:2]))
    assert np.array_equal(stored, array[..., 1:])
    with pytest.raises(MissingChunkError):
        export(volume, tmp_path / "c.npy", mip=1)
    assert not (tmp_path / "c.npy").exists()


def test_a_thick_box_is_no_picture_and_the_error_says_what_is(tmp_path):
    volume, _ = make(tmp_path)
    with pytest.raises(ShapeError, match=r"40 x 30 x 20 voxels; .* 5:45,-7:23,95:96, .*folder or a \.tif"):
        export(volume, tmp_path / "out.png")
    with pytest.raises(ShapeError, match="no voxel"):
        export(volume, tmp_path / "out.tif", box=np.s_[7:7, :, :])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"axis": "w"}, OptionError),
        ({"axis": "xy"}, OptionError),
        ({"box": np.s_[::2, :, :]}, OptionError),
        ({"box": np.s_[0:100, :, :]}, OutOfBoundsError),
    ],
)
def test_impossible_options(tmp_path, options, kind):
    volume, _ = make(tmp_path)
    with pytest.raises(kind):
        export(volume, tmp_path / "out.tif", **options)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("name", ["out.bmp", "out.zarr", "s3://bucket/out.tif"])
def test_places_that_are_no_image_file(tmp_path, name):
    volume, _ = make(tmp_path)
    with pytest.raises(OptionError):
        export(volume, name if "://" in name else tmp_path / name)


def test_nothing_is_overwritten_unasked(tmp_path):
    volume, array = make(tmp_path)
    for name in ("out.tif", "planes"):
        path = export(volume, tmp_path / name, box=np.s_[:, :, 95:97])
        with pytest.raises(OptionError, match="exists"):
            export(volume, path)
        export(volume, path, overwrite=True)
        assert Volume(path).shape[:3] == SIZE
        assert np.array_equal(Volume(path)[:, :, :], array)
    (tmp_path / "planes" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"notes\.txt"):
        export(volume, tmp_path / "planes", overwrite=True)
    (tmp_path / "d.tif").mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        export(volume, tmp_path / "d.tif", overwrite=True)
    with pytest.raises(OptionError, match="is a file"):
        export(volume, f"{tmp_path}/out.tif/", overwrite=True)


@pytest.mark.parametrize("name", ["out.tif", "out.npy", "planes"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, name, overwrite):
    volume, array = make(tmp_path)
    if overwrite:
        export(volume, tmp_path / name)
    before = names(tmp_path)
    calls = iter(range(100))
    kind = export_module._WRITERS["." + name.partition(".")[2] if "." in name else ""]
    add = kind.add

    def full(self, first, planes):
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, first, planes)

    monkeypatch.setattr(kind, "add", full)
    with pytest.raises(NoSpaceError):
        export(volume, tmp_path / name, overwrite=overwrite)
    assert names(tmp_path) == before
    if overwrite and name != "out.npy":
        assert np.array_equal(Volume(tmp_path / name)[:, :, :], array)


def test_places_that_cannot_be_written(tmp_path):
    volume, _ = make(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        export(volume, tmp_path / "file" / "out.tif")


def test_slabs_follow_the_chunks_and_the_memory_limit(tmp_path, monkeypatch):
    volume, array = make(tmp_path)
    asked = []
    download = Volume.download
    monkeypatch.setattr(
        Volume,
        "download",
        lambda self, box, *a, **k: asked.append((box[2].start, box[2].stop)) or download(self, box, *a, **k),
    )
    export(volume, tmp_path / "a.npy", box=np.s_[:, :, 98:115])
    assert asked == [(98, 103), (103, 111), (111, 115)]
    asked.clear()
    monkeypatch.setattr(export_module, "SLAB_BYTES", 3 * 40 * 30)
    assert np.array_equal(np.load(export(volume, tmp_path / "b.npy")), array)
    assert asked == [(95, 98), (98, 101), (101, 103), (103, 106), (106, 109), (109, 111), (111, 114), (114, 115)]


def read_nrrd(path):
    """The header's fields, and the voxels, (x, y, z, channel): https://teem.sourceforge.net/nrrd/format.html."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    magic, *lines = head.decode("ascii").splitlines()
    assert magic == "NRRD0005"
    fields = dict(line.split(": ", 1) for line in lines)
    sizes = [int(n) for n in fields["sizes"].split()]
    assert len(sizes) == int(fields["dimension"])
    dtype = np.dtype({"float": "f4", "double": "f8"}.get(fields["type"], fields["type"])).newbyteorder("<")
    assert (fields["encoding"], fields["endian"]) == ("gzip", "little")
    voxels = np.frombuffer(gzip.decompress(data), dtype).reshape(sizes, order="F")
    return fields, np.moveaxis(voxels, 0, 3) if len(sizes) == 4 else voxels[..., None]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_nrrd(tmp_path, dtype, channels):
    volume, array = make(tmp_path, dtype, channels)
    fields, voxels = read_nrrd(export(volume, tmp_path / "out.nrrd", axis="x"))
    assert voxels.dtype == array.dtype
    np.testing.assert_array_equal(voxels, array)
    several = ["none"] * (channels > 1)
    assert fields["space directions"].split() == [*several, "(4,0,0)", "(0,8,0)", "(0,0,40)"]
    assert fields["space units"] == '"nm" "nm" "nm"'
    assert fields["space origin"] == "(22,-52,3820)"  # the centre of voxel (5, -7, 95)


def test_a_part_as_nrrd(tmp_path):
    volume, array = make(tmp_path)
    fields, voxels = read_nrrd(export(volume, tmp_path / "out.nrrd", box=np.s_[7:20, 0:9, 100:113]))
    np.testing.assert_array_equal(voxels, array[2:15, 7:16, 5:18])
    assert fields["space origin"] == "(30,4,4020)"


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint16", 1), ("uint8", 3)])
def test_folder_of_png(tmp_path, dtype, channels, axis):
    volume, array = make(tmp_path, dtype, channels)
    along = "xyz".index(axis)
    folder = export(volume, tmp_path / "out", axis=axis, planes="png")
    expected = pictures(array, along)
    first = OFFSET[along]
    paths = [
        folder
        / f"{axis}{'-' if n < 0 else ''}{abs(n):0{len(str(max(abs(first), abs(first + len(expected) - 1))))}}.png"
        for n in range(first, first + len(expected))
    ]
    assert names(folder) == sorted(path.name for path in paths)
    for path, plane in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes()), plane)
    export(volume, folder, axis=axis, planes="tif", overwrite=True)
    assert {name[-4:] for name in names(folder)} == {".tif"}


def test_folder_of_jpg(tmp_path):
    array = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)[..., None].repeat(4, 2)
    volume = Volume.from_numpy(array, tmp_path / "v")
    folder = export(volume, tmp_path / "out", planes="jpg")
    assert names(folder) == ["z0.jpg", "z1.jpg", "z2.jpg", "z3.jpg"]
    found = imagecodecs.jpeg8_decode((folder / "z2.jpg").read_bytes())
    assert np.abs(found.astype(int) - array[:, :, 2].T).max() <= 3


def test_kinds_of_planes(tmp_path):
    volume, _ = make(tmp_path, "float32")
    for planes in ("png", "jpg"):
        with pytest.raises(UnsupportedError, match=planes):
            export(volume, tmp_path / "out", planes=planes)
    with pytest.raises(OptionError, match="planes"):
        export(volume, tmp_path / "out", planes="bmp")
    assert names(tmp_path) == ["volume"]
