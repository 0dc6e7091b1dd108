"""TensorStore's own precomputed driver reads what we write, and the reverse."""

import json

import numpy as np
import pytest
import tensorstore as ts

from tests.volume.sample import OFFSET, SHAPE, empty, make, voxels
from volumekit import Volume

LOSSLESS = [
    ("raw", "uint8", 1), ("raw", "int32", 3), ("raw", "float32", 2), ("png", "uint8", 1), ("png", "uint16", 3),
    ("compressed_segmentation", "uint32", 1), ("compressed_segmentation", "uint64", 2),
]  # fmt: skip


def opened(path, mip=0, **how):
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"}, "scale_index": mip}
    return ts.open({**spec, **how}).result()


@pytest.mark.parametrize(("encoding", "dtype", "channels"), LOSSLESS)
@pytest.mark.parametrize("through", ["native", "bridge"])
def test_tensorstore_reads_ours(tmp_path, encoding, dtype, channels, through):
    volume = empty(tmp_path / "v", encoding=encoding, dtype=dtype, channels=channels, non_aligned_writes=True)
    array = voxels(channels=channels, dtype=dtype)
    target = volume.array()
    if through == "bridge":
        target._writable = lambda *_, **__: target._merging_bridge
    volume[:] = array
    volume[0:9, 10:13] = 3
    array[5:14, 3:6] = 3
    theirs = opened(tmp_path / "v")
    assert theirs.domain.origin == (*OFFSET, 0)
    np.testing.assert_array_equal(theirs.read().result(), array)


@pytest.mark.parametrize(("encoding", "dtype", "channels"), LOSSLESS)
def test_ours_reads_tensorstores(tmp_path, encoding, dtype, channels):
    array = voxels(channels=channels, dtype=dtype)
    scale = {
        "size": SHAPE,
        "voxel_offset": OFFSET,
        "resolution": [4, 4, 40],
        "chunk_size": [16, 16, 8],
        "encoding": encoding,
    }
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 4, 2]
    metadata = {"data_type": dtype, "num_channels": channels, "type": "image"}
    theirs = ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{tmp_path}/v/"},
            "multiscale_metadata": metadata,
            "scale_metadata": scale,
            "create": True,
            "store_data_equal_to_fill_value": True,
        }
    ).result()
    theirs.write(array).result()
    volume = Volume(tmp_path / "v", non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)
    bridge = volume.array()._bridge
    np.testing.assert_array_equal(bridge.read().result(), array)
    volume[0:9, 10:13] = 3
    array[5:14, 3:6] = 3
    np.testing.assert_array_equal(opened(tmp_path / "v").read().result(), array)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compress", [None, "gzip"])
def test_jpeg_means_the_same_to_both(tmp_path, channels, compress):
    array = np.stack([np.indices(SHAPE).sum(axis=0) + 30 * c for c in range(channels)], axis=-1).astype(np.uint8)
    volume, _ = make(tmp_path / "v", array=array, encoding="jpeg")
    theirs = opened(tmp_path / "v").read().result()
    volume.compress = compress
    np.testing.assert_array_equal(volume[:], theirs)
    assert np.abs(theirs.astype(int) - array).mean() < 3


def test_all_mips(tmp_path):
    volume, array = make(tmp_path / "v", max_mip=2)
    for mip in (1, 2):
        volume.upload((), mip, mip=mip)
    np.testing.assert_array_equal(opened(tmp_path / "v").read().result(), array)
    for mip in (1, 2):
        theirs = opened(tmp_path / "v", mip)
        assert theirs.shape == volume.mip_shape(mip)
        assert theirs.domain.origin[:3] == tuple(volume.mip_voxel_offset(mip))
        assert (theirs.read().result() == mip).all()


def test_infos_that_both_understand(tmp_path):
    for encoding, dtype, extra in (
        ("raw", "uint8", {}),
        ("jpeg", "uint8", {"jpeg_quality": 70}),
        ("png", "uint16", {"png_level": 3}),
        ("compressed_segmentation", "uint64", {}),
    ):
        info = Volume.create_new_info(
            1, "image", dtype, encoding, (4, 4, 40), (-3, 5, 7), (64, 64, 64), max_mip=1, **extra
        )
        volume = Volume(tmp_path / encoding, info=info)
        volume.add_scale((8, 8, 1), encoding="raw")
        volume.commit_info()
        for mip in volume.available_mips:
            assert opened(tmp_path / encoding, mip).shape == volume.mip_shape(mip)
        stored = json.loads((tmp_path / encoding / "info").read_text())
        assert stored["@type"] == "neuroglancer_multiscale_volume"


def test_interleaving_with_tensorstore(tmp_path):
    volume, array = make(tmp_path / "v", non_aligned_writes=True)
    theirs = opened(tmp_path / "v")
    for x in range(OFFSET[0], OFFSET[0] + SHAPE[0], 2):
        volume[x] = 1
        theirs[x + 1 : x + 2 if x + 1 < OFFSET[0] + SHAPE[0] else x + 1].write(2).result()
    array[0::2], array[1::2] = 1, 2
    np.testing.assert_array_equal(volume[:], array)
