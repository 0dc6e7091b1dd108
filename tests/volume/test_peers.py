"""cloud-volume reads what we write, and the reverse. It scrambles pictures of several channels when reading them."""

import gzip
import json

import cloudvolume
import numpy as np
import pytest

from tests.volume.sample import CHUNK, OFFSET, SHAPE, make, voxels
from volumekit import Bbox, Volume

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

KINDS = [
    ("raw", "uint8", 1), ("raw", "uint16", 3), ("raw", "float32", 1), ("raw", "int8", 1), ("png", "uint8", 1),
    ("compressed_segmentation", "uint32", 1), ("compressed_segmentation", "uint64", 1),
]  # fmt: skip
COMPRESS = [None, "gzip", "br", "zstd"]
OFFSETS = [OFFSET, (0, 0, 0), (-64, -3, -200)]


def theirs(path, **how):
    return cloudvolume.CloudVolume(f"precomputed://file://{path}", progress=False, **how)


@pytest.mark.parametrize(("encoding", "dtype", "channels"), KINDS)
@pytest.mark.parametrize("compress", COMPRESS)
def test_cloudvolume_reads_ours(tmp_path, encoding, dtype, channels, compress):
    volume, array = make(
        tmp_path / "v", encoding=encoding, dtype=dtype, channels=channels, compress=compress, non_aligned_writes=True
    )
    volume[0:9, 10:13] = 3
    array[5:14, 3:6] = 3
    np.testing.assert_array_equal(theirs(tmp_path / "v")[:], array)


@pytest.mark.parametrize(("encoding", "dtype", "channels"), KINDS)
@pytest.mark.parametrize("compress", [False, "gzip", "br", "zstd"])
@pytest.mark.parametrize("offset", OFFSETS, ids=str)
def test_ours_reads_cloudvolumes(tmp_path, encoding, dtype, channels, compress, offset):
    array = voxels(channels=channels, dtype=dtype)
    info = cloudvolume.CloudVolume.create_new_info(
        channels,
        "segmentation" if "seg" in encoding else "image",
        dtype,
        encoding,
        (4, 4, 40),
        offset,
        SHAPE,
        chunk_size=CHUNK,
    )
    peer = cloudvolume.CloudVolume(f"precomputed://file://{tmp_path}/v", info=info, compress=compress, progress=False)
    peer.commit_info()
    peer.commit_provenance()
    peer[:] = array
    volume = Volume(tmp_path / "v", non_aligned_writes=True)
    np.testing.assert_array_equal(volume[:], array)
    assert volume.exists().num_missing == 0
    volume[offset[0] + 3 : offset[0] + 9] = 3
    array[3:9] = 3
    np.testing.assert_array_equal(theirs(tmp_path / "v")[:], array)
    assert volume.provenance.owners == list(peer.provenance.owners)


@pytest.mark.parametrize("compress", COMPRESS)
def test_jpeg(tmp_path, compress):
    array = np.indices(SHAPE).sum(axis=0)[..., None].astype(np.uint8)
    make(tmp_path / "v", array=array, encoding="jpeg", compress=compress)
    np.testing.assert_allclose(theirs(tmp_path / "v")[:], Volume(tmp_path / "v")[:], atol=2)


@pytest.mark.parametrize("offset", OFFSETS, ids=str)
def test_all_mips(tmp_path, offset):
    volume, array = make(tmp_path / "v", max_mip=2, offset=offset)
    for mip in (1, 2):
        volume.upload((), mip, mip=mip)
    for mip in (0, 1, 2):
        peer = theirs(tmp_path / "v", mip=mip)
        assert tuple(peer.shape) == volume.mip_shape(mip)
        assert tuple(peer.bounds.minpt) == tuple(volume.mip_bounds(mip).minpt)
        np.testing.assert_array_equal(peer[:], array if mip == 0 else np.full(peer.shape, mip))


def test_create_new_info_gives_the_same_members():
    arguments = (1, "segmentation", "uint64", "compressed_segmentation", (4, 4, 40), (8, 16, 32), (64, 64, 32))
    for more in ({}, {"mesh": True, "skeletons": True}, {"max_mip": 2, "mesh": "m"}):
        expected = cloudvolume.CloudVolume.create_new_info(*arguments, chunk_size=(32, 32, 32), **more)
        found = Volume.create_new_info(*arguments, chunk_size=(32, 32, 32), **more)
        found.pop("@type")
        expected.pop("@type", None)
        assert found == json.loads(json.dumps(expected))


def test_chunk_names_and_reports(tmp_path):
    volume, _ = make(tmp_path / "v", compress="gzip")
    volume.delete(np.s_[-5:11, 7:23, 100:108])
    assert dict(volume.exists()) == theirs(tmp_path / "v").exists(theirs(tmp_path / "v").bounds)


def test_provenance(tmp_path):
    volume, _ = make(tmp_path / "v")
    volume.provenance.owners = ["ada@example.org"]
    volume.provenance.processing = [{"method": {"task": "test"}, "by": "ada@example.org"}]
    volume.commit_provenance()
    assert list(theirs(tmp_path / "v").provenance.owners) == ["ada@example.org"]


def test_mixed_variants_mean_the_same(tmp_path):
    """cloud-volume leaves stale variants behind: both take the plain one."""
    volume, array = make(tmp_path / "v")
    packed = tmp_path / "v" / "4_4_40" / "-5-11_7-23_100-108.gz"
    packed.write_bytes(gzip.compress(bytes(16 * 16 * 8 * 2)))
    for reader in (theirs(tmp_path / "v"), Volume(volume.cloudpath), Volume(volume.cloudpath, compress="gzip")):
        np.testing.assert_array_equal(reader[:], array)


SHARDINGS = {
    "plain": {"preshift_bits": 1, "hash": "identity", "minishard_bits": 1, "shard_bits": 3},
    "gzip": {
        "preshift_bits": 0, "hash": "identity", "minishard_bits": 2, "shard_bits": 3,
        "minishard_index_encoding": "gzip", "data_encoding": "gzip",
    },
    "murmur": {
        "preshift_bits": 0, "hash": "murmurhash3_x86_128", "minishard_bits": 2, "shard_bits": 1,
        "minishard_index_encoding": "gzip", "data_encoding": "raw",
    },
}  # fmt: skip
SHARDED_KINDS = [("raw", "uint8"), ("raw", "float32"), ("png", "uint8"), ("compressed_segmentation", "uint64")]


@pytest.mark.parametrize(("encoding", "dtype"), SHARDED_KINDS)
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_cloudvolume_reads_our_shards(tmp_path, encoding, dtype, sharding):
    volume, array = make(
        tmp_path / "v", encoding=encoding, dtype=dtype, sharding=SHARDINGS[sharding], non_aligned_writes=True
    )
    volume[0:9, 10:13] = 3
    array[5:14, 3:6] = 3
    peer = theirs(tmp_path / "v")
    np.testing.assert_array_equal(peer[:], array)
    if sharding != "murmur":
        assert peer.image.shard_shape(0).tolist() == volume.image.shard_shape(0).tolist()


@pytest.mark.parametrize(("encoding", "dtype"), SHARDED_KINDS)
@pytest.mark.parametrize("sharding", ["plain", "gzip"])
@pytest.mark.parametrize("offset", OFFSETS[:2], ids=str)
def test_ours_reads_and_changes_cloudvolumes_shards(tmp_path, encoding, dtype, sharding, offset):
    array = voxels(dtype=dtype)
    info = Volume.create_new_info(
        1, "segmentation" if "seg" in encoding else "image", dtype, encoding, (4, 4, 40), offset, SHAPE,
        chunk_size=CHUNK, sharding=SHARDINGS[sharding],
    )  # fmt: skip
    peer = cloudvolume.CloudVolume(f"precomputed://file://{tmp_path}/v", info=info, progress=False)
    peer.commit_info()
    volume = Volume(tmp_path / "v", non_aligned_writes=True)
    for box in volume.shard_boxes():
        low, high = box.minpt.tolist(), box.maxpt.tolist()
        part = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, offset, strict=True))
        peer[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = array[part]
    np.testing.assert_array_equal(volume[:], array)
    assert volume.exists().num_missing == 0
    volume[offset[0] + 3 : offset[0] + 9] = 3
    array[3:9] = 3
    np.testing.assert_array_equal(theirs(tmp_path / "v")[:], array)


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle", "compresso"])
def test_labels_as_cloudvolume_reads_them(tmp_path, encoding):
    array = (
        np.kron(np.random.default_rng(0).integers(0, 9, (8, 6, 4)), np.ones((5, 5, 5), int)).astype(np.uint64) * 10**12
    )
    make(tmp_path / "v", array=array, encoding=encoding, layer_type="segmentation", chunk=(16, 16, 16))
    volume, peer = Volume(tmp_path / "v"), theirs(tmp_path / "v", parallel=1)
    box = np.s_[-2:30, 9:36, 101:118]
    assert volume.unique(box) == set(map(int, peer.unique(box)))
    for options in (
        {"label": 3 * 10**12},
        {"segids": [10**12, 7 * 10**12]},
        {"segids": [10**12], "preserve_zeros": True},
    ):
        np.testing.assert_array_equal(volume.download(box, **options), peer.download(box, **options))
    ours, mapping = volume.download(box, renumber=True)
    numbers, theirs_mapping = peer.download(box, renumber=True)
    assert set(mapping) == set(theirs_mapping)
    turned = np.zeros(len(mapping), int)
    for label, number in mapping.items():
        turned[theirs_mapping[label]] = number
    np.testing.assert_array_equal(turned[np.asarray(numbers)], ours)
    bbox = cloudvolume.Bbox((-1, 5, 110), (12, 17, 116))
    there = peer.download(bbox, coord_resolution=(8, 8, 40))
    here = volume.download(Bbox(bbox.minpt, bbox.maxpt), coord_resolution=(8, 8, 40))
    np.testing.assert_array_equal(here, there)
