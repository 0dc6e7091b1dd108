"""What must never lose or invent voxels, however a volume is used."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import MetadataError, OptionError, UnsupportedError


def make(path: Path, value: int = 1, shape: tuple[int, ...] = (128, 64, 64), **how: object) -> Volume:
    chunk = (64, 64, 64)
    return Volume.from_numpy(np.full(shape, value, np.uint8), path, chunk_size=chunk, **how)  # type: ignore[arg-type]


def test_a_channel_or_steps_are_no_chunks(tmp_path: Path) -> None:
    volume = make(tmp_path / "v", shape=(64, 64, 64, 3))
    for part in (np.s_[..., 1], np.s_[0:64:2], np.s_[::-2]):
        with pytest.raises(OptionError):
            volume.delete(part)
        with pytest.raises(OptionError):
            volume.exists(part)
    assert volume.exists().num_missing == 0


def test_chunks_compressed_by_somebody_else_later_on_are_merged(tmp_path: Path) -> None:
    volume = make(tmp_path / "v", non_aligned_writes=True)
    volume[0:3, 0:3, 0:3] = 7
    other = Volume(tmp_path / "v", compress="gzip")
    other[:] = other[:]
    volume[64:66, 0:3, 0:3] = 9
    volume[[127], [63], [63]] = [[8]]
    expected = np.ones((128, 64, 64, 1), np.uint8)
    expected[0:3, 0:3, 0:3], expected[64:66, 0:3, 0:3], expected[127, 63, 63] = 7, 9, 8
    assert np.array_equal(Volume(tmp_path / "v")[:], expected)


def test_an_earlier_dataset_is_kept_or_gone_at_every_mip(tmp_path: Path) -> None:
    volume = make(tmp_path / "v", 1, max_mip=1, factor=(2, 2, 2))
    Volume(tmp_path / "v", mip=1)[:] = 1
    with pytest.raises(OptionError, match="overwrite"):
        make(tmp_path / "v", 2)
    assert volume[0, 0, 0] == 1
    again = make(tmp_path / "v", 2, max_mip=1, factor=(2, 2, 2), overwrite=True)
    assert again[0, 0, 0] == 2
    assert not again.has_data(1)


def test_cropped_writes_from_shared_memory(tmp_path: Path) -> None:
    volume = make(tmp_path / "v", 0, shape=(64, 64, 64), bounded=False, autocrop=True, non_aligned_writes=True)
    name = volume.generate_shared_memory_location()
    wide = Volume.from_numpy(
        np.random.default_rng(0).integers(0, 255, (100, 64, 64), dtype=np.uint8), tmp_path / "wide"
    )
    voxels = wide.download_to_shared_memory((), name)
    try:
        volume.upload_from_shared_memory(name, np.s_[-20:80, 0:64, 0:64])
        assert np.array_equal(volume[0:64, 0:64, 0:64], voxels[20:84])
        volume[:] = 0
        volume.upload_from_shared_memory(name, np.s_[-20:80, 0:64, 0:64], cutout_bbox=np.s_[10:80, 0:64, 0:64])
        assert np.array_equal(volume[10:64, 0:64, 0:64], voxels[30:84])
        assert not volume[0:10, 0:64, 0:64].any()
    finally:
        assert volume.unlink_shared_memory(name)


def test_two_scales_cannot_share_a_folder(tmp_path: Path) -> None:
    volume = make(tmp_path / "v", max_mip=1)
    volume.info["scales"][1]["key"] = volume.info["scales"][0]["key"]
    with pytest.raises(OptionError, match="already"):
        volume.commit_info()
    volume.mip = 1
    with pytest.raises(MetadataError, match="already"):
        volume[:]


def test_a_chunk_is_never_larger_than_the_volume(tmp_path: Path) -> None:
    info = Volume.create_new_info(
        1, "image", "uint8", "raw", (1, 1, 1), (5, 6, 7), (60, 50, 40), chunk_size=(4096,) * 3
    )
    voxels = np.random.default_rng(0).integers(0, 255, (60, 50, 40), dtype=np.uint8)
    for compress in (None, "gzip"):
        volume = Volume(tmp_path / str(compress), info=info, compress=compress, non_aligned_writes=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        volume[:] = voxels
        volume[6, 7, 8] = 3
        assert (volume[:, :, :, 0] == voxels).mean() > 0.99
        assert volume[6, 7, 8] == 3
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
        assert list(volume.chunk_size) == [4096] * 3
        assert list(volume.exists()) == ["1_1_1/5-65_6-56_7-47"]


def test_other_files_in_a_levels_folder_are_no_data(tmp_path: Path) -> None:
    volume = make(tmp_path / "v")
    volume.delete(volume.bounds)
    (tmp_path / "v" / "1_1_1" / "README").write_text("nothing here")
    assert not volume.has_data()


def test_bounds_are_forgotten_when_voxels_move(tmp_path: Path) -> None:
    cutout = make(tmp_path / "v")[0:4, 0:4, 0:4]
    for moved in (np.roll(cutout, 1, 0), cutout.take([2, 1, 0, 3], 0), np.flip(cutout[:, :, :, 0], 0) + 0):
        where = getattr(moved, "bounds", None)
        assert where is None or moved.shape != cutout.shape or where == cutout.bounds
    assert np.roll(cutout, 1, 0).bounds is None
    for same in (cutout.copy(), cutout.astype(np.float32), cutout + 1, -cutout, cutout.copy("F"), cutout[...]):
        assert same.bounds == cutout.bounds


def test_what_cannot_be_honoured_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "v")
    for option in ({"at": {"t": 3}},):
        with pytest.raises(UnsupportedError):
            Volume(tmp_path / "v", **option)  # type: ignore[arg-type]


def test_absurd_boxes_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    info = Volume.create_new_info(1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (10**12, 10**6, 10**6))
    volume = Volume(tmp_path / "v", info=info, fill_missing=True)
    with pytest.raises(OptionError, match="in parts"):
        volume[:]
    with pytest.raises(OptionError, match="choose a box"):
        volume.exists()
    assert volume[10**11, 5, 5] == 0


def test_values_that_describe_no_volume() -> None:
    good = (1, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (10, 10, 10))
    for place, bad in ((6, None), (4, "x"), (5, (1, 2)), (6, (0, 1, 1)), (2, "complex64"), (1, "mesh")):
        values = [bad if n == place else value for n, value in enumerate(good)]
        with pytest.raises(OptionError):
            Volume.create_new_info(*values)  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Volume.create_new_info(*good, max_mip="a")  # type: ignore[arg-type]
