"""Jobs on N5: conversion, new levels in each of the ways in which levels are described, copies, the disk cache."""

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from tests.formats.n5_pyramids import PYRAMIDS, plant
from tests.ops.levels import HOW, same_levels, sample
from volumekit import Volume, convert, downsample
from volumekit.cli.main import run
from volumekit.errors import ReadOnlyError, TargetExistsError, UnsupportedError
from volumekit.testing.servers import WebServer


@pytest.mark.parametrize("compressor", [None, "zstd", "lz4"])
def test_converted_there_and_back(tmp_path, twin, compressor):
    path = tmp_path / "a.n5"
    made = convert(twin, path, **{**HOW, "voxel_size": None}, compressor=compressor)
    assert made.cloudpath == f"n5://file://{path}"
    same_levels(Volume(path), twin)
    assert made.provenance.sources == [twin.cloudpath]
    assert "finished" in Volume(path).provenance.processing[-1]
    assert made.exists().num_missing == 4 * 3, "blocks of zeros are not stored"
    back = convert(path, tmp_path / "back", chunk_size=8, mips=2, progress=False)
    same_levels(back, twin)
    assert sorted(p.name for p in path.iterdir()) == ["attributes.json", "s0", "s1", "s2"]


def test_converted_at_the_command_line(tmp_path, twin, capsys):
    path = tmp_path / "b"
    assert run(["convert", twin.cloudpath, str(path), "--format", "n5", "--chunk-size", "8", "--mips", "1"]) == 0
    assert run(["info", str(path)]) == 0
    assert "n5" in capsys.readouterr().out
    for extra in (["--shard", "16,16,16"], ["--zarr-version", "2"], ["--encoding", "jpeg"]):
        assert run(["convert", twin.cloudpath, str(tmp_path / "c.n5"), *extra]) != 0
    assert not (tmp_path / "c.n5").exists()


def test_a_target_that_is_taken(tmp_path):
    convert(sample(), tmp_path / "a.n5", **HOW)
    other = sample()[:20] + 1
    with pytest.raises(TargetExistsError):
        convert(other, tmp_path / "a.n5", **{**HOW, "mips": 0})
    made = convert(other, tmp_path / "a.n5", overwrite=True, **{**HOW, "mips": 0})
    np.testing.assert_array_equal(made[..., 0], other)
    assert not (tmp_path / "a.n5" / "s1").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_levels_are_added(tmp_path, channels):
    """What `downsample` adds is what `convert` would have made."""
    whole = convert(sample(channels), tmp_path / "whole.n5", offset=(5, -3, 7), **HOW)
    part = convert(sample(channels), tmp_path / "part.n5", offset=(5, -3, 7), **{**HOW, "mips": 0})
    downsample(part, mips=2, progress=False)
    same_levels(Volume(tmp_path / "part.n5"), whole)
    for key in ("s1", "s2"):
        told, wanted = (
            json.loads((tmp_path / n / key / "attributes.json").read_text()) for n in ("part.n5", "whole.n5")
        )
        assert told == wanted
    told, wanted = (json.loads((tmp_path / n / "attributes.json").read_text()) for n in ("part.n5", "whole.n5"))
    for group in (told, wanted):
        group.pop("volumekit")
        group["multiscales"][0].pop("name")
    assert told == wanted


GROWING = [name for name in PYRAMIDS if name not in ("bigdataviewer",)]


@pytest.mark.parametrize("name", GROWING)
def test_levels_are_described_as_those_there_are(tmp_path, name):
    root = plant(tmp_path / "a.n5", PYRAMIDS[name])
    volume = Volume(root)
    for mip in (0, 1):
        volume.mip = mip
        volume[...] = np.random.default_rng(mip).integers(0, 200, volume.shape, "uint8")
    fine = Volume(root, mip=1)[...]
    downsample(root, mip=1, mips=1, factor=(2, 2, 2), method="mean", progress=False)
    grown = Volume(root)
    assert [(level.resolution, level.offset, level.shape[:3]) for level in grown.levels][2:] == [
        ((16, 16, 80), (0, 0, 0), (3, 3, 4))
    ]
    assert [level.shape for level in grown.levels[:2]] == [level.shape for level in volume.levels]
    np.testing.assert_array_equal(Volume(root, mip=1)[...], fine)
    twin = Volume.from_numpy(fine, tmp_path / "twin", resolution=(8, 8, 40))
    downsample(twin, mips=1, factor=(2, 2, 2), method="mean", progress=False)
    np.testing.assert_array_equal(grown.download((), 2), Volume(tmp_path / "twin", mip=1)[...])


def test_levels_that_cannot_be_added(tmp_path):
    root = plant(tmp_path / "all", PYRAMIDS["bigdataviewer"])
    with pytest.raises(UnsupportedError, match="BigDataViewer"):
        downsample(root, mip=0, progress=False, overwrite=True)
    single = plant(tmp_path / "single", {"": PYRAMIDS["n5-viewer"]["s0"]})
    with pytest.raises(ReadOnlyError, match="convert it first"):
        downsample(single, progress=False)


def _planes(path, first, step):
    volume = Volume(path, non_aligned_writes=True, progress=False)
    for z in range(first, volume.shape[2], step):
        volume[:, :, z] = z + 1


@pytest.mark.parametrize("compressor", ["gzip", "lz4"])
def test_interleaved_writers_lose_nothing(tmp_path, compressor):
    Volume.from_numpy(np.zeros((16, 16, 24), "uint8"), tmp_path / "a.n5", chunk_size=(8, 8, 24), compressor=compressor)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_planes, args=(str(tmp_path / "a.n5"), n, 2)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    np.testing.assert_array_equal(Volume(tmp_path / "a.n5")[0, 0, :, 0], np.arange(24) + 1)


def test_blocks_of_other_writers_are_merged(tmp_path):
    """Blocks cut at the end, of z5 and zarr-python, take a partial write natively and in Python."""
    golden = Path(__file__).parent.parent / "golden" / "n5"
    for name, key in (("z5py", "gzip"), ("z5py", "lz4"), ("zarr_python", "blosc"), ("lz4_java", "lz4")):
        path = tmp_path / name / key
        shutil.copytree(golden / name / "data" / key, path)
        volume = Volume(path, non_aligned_writes=True)
        expected = np.array(volume[...])
        low = [n - 3 for n in volume.shape[:3]]
        box = tuple(slice(a, a + 2) for a in low)
        volume[box] = 9
        expected[box] = 9
        np.testing.assert_array_equal(Volume(path)[...], expected)
        if key != "lz4":
            store = ts.open({"driver": "n5", "kvstore": f"file://{path}/"}, open=True).result()
            np.testing.assert_array_equal(store.read().result().reshape(expected.shape), expected)


def test_over_http_and_from_the_disk_cache(tmp_path):
    data = sample()
    Volume.from_numpy(data, tmp_path / "a.n5", chunk_size=(8, 8, 8), max_mip=1)
    files = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with WebServer(files) as web:
        cache = str(tmp_path / "cache")
        remote = Volume(f"{web.url}/a.n5", cache=cache)
        np.testing.assert_array_equal(remote[..., 0], data)
        asked = web.count(".*s0/[0-9].*", method="GET")
        assert asked >= 6 * 5 * 3 - 4 * 3
        np.testing.assert_array_equal(Volume(f"{web.url}/a.n5", cache=cache)[8:16, 20:30, :, 0], data[8:16, 20:30])
        assert web.count(".*s0/[0-9].*", method="GET") == asked
        assert remote.exists().num_missing == 2 * 2 * 3
