"""One life of a volume, the same wherever it is: files, memory, S3, Google Storage, fsspec; the web for reading."""

import asyncio
import multiprocessing
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from tests.volume.sample import CHUNK, END, OFFSET, SHAPE, make, voxels
from volumekit import Bbox, Volume, downsample
from volumekit.engine.drive import run
from volumekit.errors import MissingChunkError, OutOfBoundsError, ReadOnlyError

WRITABLE = ["file", "memory", "s3", "gs", "local"]
BOX = Bbox((-3, 9, 101), (20, 30, 115))
"""Off the chunk grid, touching several chunks."""


@dataclass
class Where:
    """Where a dataset is written, and where it is read."""

    written: str
    read: str
    native: bool


@pytest.fixture
def where(request, tmp_path):
    kind = request.param
    if kind == "memory":
        return Where(f"memory:/{tmp_path}", f"memory:/{tmp_path}", native=True)
    if kind in ("file", "local"):
        return Where(f"{kind}://{tmp_path}/v", f"{kind}://{tmp_path}/v", native=kind == "file")
    bucket = {"s3": "s3_bucket", "gs": "strict_gcs_bucket", "http": "quick_bucket"}[kind]
    url = f"{request.getfixturevalue(bucket)}/a folder/v"
    return Where(url, url.removeprefix("s3://") if kind == "http" else url, native=True)


everywhere = pytest.mark.parametrize("where", [*WRITABLE, "http"], indirect=True)
writable = pytest.mark.parametrize("where", WRITABLE, indirect=True)
elsewhere = pytest.mark.parametrize("where", [kind for kind in WRITABLE if kind != "memory"] + ["http"], indirect=True)


def part(box):
    """Return where in the sample's array a box is."""
    return tuple(slice(a - o, b - o) for a, b, o in zip(box.minpt.tolist(), box.maxpt.tolist(), OFFSET, strict=True))


@everywhere
def test_reading(where):
    _, array = make(where.written, max_mip=1)
    volume = Volume(where.read)
    assert (volume._store.native() is not None) == where.native
    assert (volume[:] == array).all()
    assert (volume[BOX] == array[part(BOX)]).all()
    assert (volume[BOX.to_slices()][::-2, :, 3] == array[part(BOX)][::-2, :, 3]).all()
    assert (volume[0, 10, 105] == array[5, 3, 5]).all()
    points = np.array([[-5, 7, 100], [31, 36, 118], [0, 10, 105]])
    assert (volume.points(points) == array[tuple((points - OFFSET).T)]).all()
    out = np.empty((*BOX.size3(), 1), array.dtype)
    assert volume.download(BOX, out=out).base is not None
    assert (out == array[part(BOX)]).all()
    with pytest.raises(OutOfBoundsError):
        volume[0:100, 10, 105]
    loose = Volume(where.read, bounded=False, background_color=7)
    assert (loose[-9:-5, 10, 105] == 7).all()


@everywhere
def test_memory_cache(where):
    _, array = make(where.written)
    volume = Volume(where.read, lru_bytes=1 << 20)
    for _ in range(2):
        assert (volume[BOX] == array[part(BOX)]).all()


@everywhere
def test_async(where):
    _, array = make(where.written)
    volume = Volume(where.read)

    async def both():
        return await asyncio.gather(volume.read_async(BOX), volume.read_async(volume.bounds))

    box, whole = asyncio.run(both())
    assert (box == array[part(BOX)]).all()
    assert (whole == array).all()


@everywhere
def test_facts(where):
    made, _ = make(where.written, max_mip=1)
    volume = Volume(where.read)
    assert volume.info == made.info
    assert volume.bounds == Bbox(OFFSET, END)
    assert volume.cloudpath == f"precomputed://{where.read}"
    assert volume.provenance == made.provenance
    assert Volume(volume.cloudpath) == volume
    assert where.read in repr(volume)


@everywhere
def test_missing_chunks(where):
    made, array = make(where.written)
    gone = Bbox(OFFSET, np.add(OFFSET, CHUNK))
    made.delete(gone)
    volume = Volume(where.read)
    name = next(iter(made.exists().missing))
    assert volume.exists().missing == [name]
    assert volume.exists(gone).num_missing == 1
    assert volume.exists(np.s_[20:30, 10:20, 101:102]).num_missing == 0
    assert volume.has_data()
    with pytest.raises(MissingChunkError, match=name):
        volume[:]
    rest = Bbox((OFFSET[0] + CHUNK[0], *OFFSET[1:]), END)
    assert (volume[rest] == array[part(rest)]).all()
    expected = array.copy()
    expected[part(gone)] = 0
    assert (Volume(where.read, fill_missing=True)[:] == expected).all()
    expected[part(gone)] = 60
    assert (Volume(where.read, fill_missing=True, background_color=60)[:] == expected).all()


@writable
def test_unaligned_writes(where):
    volume, array = make(where.written, non_aligned_writes=True)
    array = array.copy()
    array[part(BOX)] = voxels(tuple(BOX.size3()))[...] + 1
    volume[BOX] = array[part(BOX)]
    volume[0, 10, 105] = 9
    array[5, 3, 5] = 9
    volume[np.array([1, 2]), np.array([11, 12]), np.array([110, 111])] = 5
    array[[6, 7], [4, 5], [10, 11]] = 5
    assert (Volume(where.written)[:] == array).all()
    other = Volume(where.written, non_aligned_writes=True)
    other[:, 20, :] = 1
    array[:, 13, :] = 1
    assert (volume[:] == array).all()


@writable
def test_first_writes_in_part(where):
    info = Volume.create_new_info(
        num_channels=2, layer_type="image", data_type="uint16", encoding="raw", resolution=(4, 4, 40),
        voxel_offset=OFFSET, volume_size=SHAPE, chunk_size=CHUNK,
    )  # fmt: skip
    volume = Volume(where.written, info=info, non_aligned_writes=True, background_color=3)
    volume.commit_info()
    assert not volume.has_data()
    volume[-4:2, 8:12, 101:104] = 8
    array = volume.download(volume.bounds, fill_missing=True)
    assert (array[1:7, 1:5, 1:4] == 8).all()
    assert (array == 8).sum() == 6 * 4 * 3 * 2
    assert (array[:, :, 8:] == 3).all()
    assert len(volume.exists()) - volume.exists().num_missing == 1


@writable
def test_mips_and_metadata(where):
    volume, array = make(where.written, chunk=(16, 16, 16))
    downsample(where.written, factor=(2, 2, 1), mips=1)
    coarse = Volume(where.written, mip=1)
    assert coarse.shape == (19, 16, 19, 1)
    assert coarse[:].mean() == pytest.approx(array.mean(), rel=0.05)
    volume.refresh_info()
    assert len(volume.scales) == 2
    volume.provenance.description = "told"
    volume.commit_provenance()
    assert Volume(where.written).provenance.description == "told"
    coarse.delete(coarse.bounds)
    assert not coarse.has_data()
    assert Volume(where.written).has_data()


@writable
def test_replacing_a_dataset(where):
    make(where.written, chunk=(8, 8, 8))
    with pytest.raises(ValueError, match="overwrite"):
        make(where.written)
    _, array = make(where.written, overwrite=True)
    volume = Volume(where.written)
    assert (volume[:] == array).all()
    stored = [key for key in volume._store.list() if key not in ("info", "provenance")]
    assert sorted(stored) == sorted(volume.exists())


@everywhere
def test_pickles(where):
    _, array = make(where.written)
    volume = pickle.loads(pickle.dumps(Volume(where.read)))
    assert (volume[BOX] == array[part(BOX)]).all()


def in_another_process(volume, writes):
    if writes:
        volume[BOX] = volume[BOX] + 1
    return np.asarray(volume[BOX])


@elsewhere
def test_spawned_processes(where):
    made, array = make(where.written)
    volume = Volume(where.read, non_aligned_writes=made._store.writable)
    writes = where.read == where.written
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(in_another_process, (volume, writes))
    assert (found == array[part(BOX)] + writes).all()
    assert (volume[BOX] == found).all()


@everywhere
def test_progress(where):
    """Told of every byte, wherever it comes from."""
    _, array = make(where.written)
    told = []
    volume = Volume(where.read)
    run(volume._reading(volume._select((), None), None, None, told.append))
    assert sum(told) == array.nbytes


@pytest.mark.parametrize("where", ["http"], indirect=True)
def test_the_web_is_read_only(where):
    make(where.written)
    volume = Volume(where.read)
    for change in (
        lambda: volume.upload((), 1),
        lambda: volume.delete(volume.bounds),
        volume.commit_info,
        volume.commit_provenance,
        lambda: Volume.from_numpy(np.ones((4, 4, 4), np.uint8), f"{where.read}-new"),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert volume.exists().num_missing == 0
