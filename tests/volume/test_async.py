"""Downloads: into arrays one holds, asynchronously, with progress."""

import asyncio

import numpy as np
import pytest

from tests.volume.sample import empty, make
from volumekit import Bbox, Volume
from volumekit.errors import AlignmentError, MissingChunkError, OutOfBoundsError, ShapeError


@pytest.fixture
def sample(tmp_path):
    return make(tmp_path / "v", channels=2, non_aligned_writes=True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_out(sample, order):
    volume, array = sample
    out = np.zeros(array.shape, array.dtype, order=order)
    found = volume.download((), out=out)
    assert found.base is out
    assert np.shares_memory(found, out)
    np.testing.assert_array_equal(out, array)
    assert found.bounds == volume.bounds


def test_out_with_strides(sample):
    volume, array = sample
    large = np.zeros((80, 30, 40, 2), array.dtype)
    volume.download(np.s_[0:20], out=large[10:50:2, :, 38:0:-2])
    np.testing.assert_array_equal(large[10:50:2, :, 38:0:-2], array[5:25])
    large[10:50:2, :, 38:0:-2] = 0
    assert not large.any()


def test_out_that_reaches_outside(sample):
    volume = Volume(sample[0].cloudpath, bounded=False, background_color=5)
    out = np.zeros((10, 30, 19, 2), np.uint16)
    volume.download(np.s_[-10:0], out=out)
    assert (out[:5] == 5).all()
    np.testing.assert_array_equal(out[5:], sample[1][:5])


@pytest.mark.parametrize(
    "out", [np.zeros((2, 2), np.uint16), np.zeros((37, 30, 19, 2), np.uint8), np.zeros((37, 30, 19), np.uint16)]
)
def test_out_that_does_not_fit(sample, out):
    with pytest.raises(ShapeError, match="out"):
        sample[0].download((), out=out)
    locked = np.zeros((37, 30, 19, 2), np.uint16)
    locked.flags.writeable = False
    with pytest.raises(ShapeError, match="read-only"):
        sample[0].download((), out=locked)


@pytest.mark.parametrize(
    "box",
    [
        Bbox((0, 10, 101), (12, 20, 102)),
        np.s_[0:12, 10:20, 101:102],
        [0, 10, 101, 12, 20, 102],
        "0-12_10-20_101-102.gz",
        (slice(0, 12), slice(10, 20), slice(101, 102)),
        np.array([0, 10, 101, 12, 20, 102]),
    ],
    ids=str,
)
def test_what_download_takes(sample, box):
    volume, array = sample
    np.testing.assert_array_equal(volume.download(box), array[5:17, 3:13, 1:2])


def test_reading_and_writing_asynchronously(sample):
    volume, array = sample

    async def use():
        cutouts = await asyncio.gather(*(volume.read_async(np.s_[x : x + 5]) for x in range(-5, 25, 5)))
        for n, cutout in enumerate(cutouts):
            np.testing.assert_array_equal(cutout, array[5 * n : 5 * n + 5])
        await asyncio.gather(*(volume.write_async(np.s_[x], x + 10) for x in range(-5, 32)))
        out = np.zeros_like(array)
        await volume.read_async((), out=out)
        return out

    expected = np.broadcast_to(np.arange(5, 42)[:, None, None, None], array.shape)
    np.testing.assert_array_equal(asyncio.run(use()), expected)


def test_asynchronous_errors(sample, tmp_path):
    volume, _ = sample
    strict = empty(tmp_path / "w")

    async def use(what):
        await what

    with pytest.raises(OutOfBoundsError):
        asyncio.run(use(volume.read_async(np.s_[500])))
    with pytest.raises(MissingChunkError):
        asyncio.run(use(strict.read_async(())))
    with pytest.raises(AlignmentError):
        asyncio.run(use(strict.write_async(np.s_[0:3], 1)))
    with pytest.raises(ShapeError):
        asyncio.run(use(volume.read_async((), out=np.zeros(3, np.uint16))))


def test_the_event_loop_keeps_running(tmp_path):
    volume = empty(tmp_path / "v", shape=(512, 512, 128), offset=(0, 0, 0), chunk=(64, 64, 64), dtype="uint8")
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.001)

    async def use():
        ticking = asyncio.create_task(tick())
        await volume.write_async((), 3)
        assert (await volume.read_async(()) == 3).all()
        ticking.cancel()

    asyncio.run(use())
    assert len(ticks) > 5


def test_cancelling_a_task(tmp_path):
    volume = empty(tmp_path / "v", shape=(512, 512, 128), offset=(0, 0, 0), chunk=(64, 64, 64), dtype="uint8")

    async def use():
        task = asyncio.create_task(volume.write_async((), 3))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())
    volume[:] = 4
    assert (volume[:] == 4).all()


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_progress_counts_every_byte(tmp_path, compress, monkeypatch):
    from volumekit.volume import progress

    told = []

    class Bar:
        def __init__(self, total, **_):
            told.append(("total", total))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            told.append("closed")

        def update(self, n):
            told.append(n)

    monkeypatch.setattr(progress, "interactive", lambda: True)
    monkeypatch.setattr("tqdm.tqdm", Bar)
    volume, array = make(tmp_path / "v", compress=compress)
    assert told == [], "nobody asked for a bar"
    volume.download((), progress=True)
    assert told[0] == ("total", array.nbytes)
    assert told[-1] == "closed"
    assert sum(told[1:-1]) == array.nbytes
    told.clear()
    volume.upload((), array, progress=True)
    assert sum(told[1:-1]) == array.nbytes
    told.clear()
    volume.progress = True
    volume[0:3]
    assert told
    told.clear()
    volume.download((), progress=False)
    assert told == []
    volume.progress = None
    monkeypatch.setattr(progress, "interactive", lambda: True)
    monkeypatch.setattr(progress, "WORTH_SHOWING", 1)
    volume[0:3]
    assert told


def test_a_real_bar(sample, capsys):
    sample[0].download((), progress=True)
    assert "Reading" in capsys.readouterr().err
