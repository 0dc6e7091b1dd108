"""Folders of precomputed-tif, whose info files are those of raw chunks: never taken for empty volumes."""

import pytest

from volumekit import Volume, convert, transfer
from volumekit.errors import UnsupportedError
from volumekit.volume.foreign import check_own


@pytest.mark.parametrize("name", ["tiff", "zarr", "blockfs"])
def test_jobs_refuse_them(golden, tmp_path, name):
    """With missing chunks filled, or copied as missing, the result would be a volume of zeros."""
    place = golden / "precomputed_tif/excerpts" / name
    for job in (
        lambda: check_own(Volume(place)),
        lambda: convert(place, tmp_path / "out", fill_missing=True, progress=False),
        lambda: convert(Volume(place, fill_missing=True), tmp_path / "out", progress=False),
        lambda: transfer(place, tmp_path / "out", progress=False),
    ):
        with pytest.raises(UnsupportedError, match=f"precomputed-tif's format '{name}'"):
            job()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_others_are_their_own(tmp_path, encoding):
    """Volumes without a single chunk, too."""
    info = Volume.create_new_info(1, "image", "uint8", encoding, (1, 1, 1), (0, 0, 0), (16, 16, 16))
    volume = Volume(tmp_path / "v", info=info)
    volume.commit_info()
    check_own(volume)
