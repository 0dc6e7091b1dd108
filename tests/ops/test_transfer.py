"""Transfers: the same bytes where source and target agree, the same voxels everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from volumekit import Bbox, Volume, convert, transfer
from volumekit.cli.main import run
from volumekit.codecs.png import Png
from volumekit.errors import InvalidURLError, MissingChunkError, NoSpaceError, OptionError, TargetExistsError
from volumekit.ops import transfer as module
from volumekit.ops import trial
from volumekit.storage.wrap import CountedStore

SHAPE = (70, 50, 40, 1)
LOW = (-5, 3, 8)


@pytest.fixture
def voxels():
    return np.random.default_rng(1).integers(1, 200, SHAPE, np.uint8)


def make(url, voxels, **how):
    how = {"chunk_size": (16, 16, 16), "voxel_offset": LOW, "max_mip": 1, "factor": (2, 2, 2), "progress": False, **how}
    made = Volume.from_numpy(voxels, url, **how)
    coarse = np.random.default_rng(2).integers(1, 200, made.mip_shape(1)).astype(voxels.dtype)
    Volume(url, 1, compress=how.get("compress"))[:] = coarse
    return made


def files(folder):
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if ".volumekit" not in name and name != "provenance"}


@pytest.mark.parametrize(
    "how",
    [{}, {"compress": "gzip"}, {"compress": "br"}, {"encoding": "jpeg"}, {"encoding": "png"}, {"sharding": True}],
    ids=str,
)
def test_what_is_alike_is_copied_byte_by_byte(tmp_path, voxels, how):
    source = make(tmp_path / "a", voxels, **how)
    target = transfer(source, tmp_path / "b", progress=False)
    assert files(tmp_path / "b") == files(tmp_path / "a")
    for mip in (0, 1):
        np.testing.assert_array_equal(Volume(target.cloudpath, mip)[:], Volume(source.cloudpath, mip)[:])
    assert target.provenance.sources == [source.cloudpath]


def test_what_is_the_same_already_is_left_alone(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    transfer(source, tmp_path / "b", progress=False)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "b/1_1_1").iterdir()}
    changed = tmp_path / "b/1_1_1/-5-11_3-19_8-24"
    changed.write_bytes(bytes(16**3))
    transfer(source, tmp_path / "b", progress=False)
    assert changed.read_bytes() == bytes(16**3), "what is finished is not looked at"
    transfer(source, tmp_path / "b", overwrite=True, progress=False)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "b/1_1_1").iterdir()}
    assert {p for p in after if after[p] != before[p]} == {changed}
    assert files(tmp_path / "b") == files(tmp_path / "a")


@pytest.mark.parametrize("target", [{"sharding": True}, {"encoding": "png"}, {"chunk_size": (10, 20, 5)}], ids=str)
@pytest.mark.parametrize("source", [{}, {"sharding": True}, {"compress": "gzip"}], ids=str)
def test_other_layouts_get_the_same_voxels(tmp_path, voxels, source, target):
    one = make(tmp_path / "a", voxels, **source)
    two = make(tmp_path / "b", np.zeros_like(voxels), **target)
    transfer(one, two.cloudpath, mips=0, overwrite=True, progress=False)
    np.testing.assert_array_equal(Volume(two.cloudpath)[:], voxels)


@pytest.mark.parametrize("how", [{}, {"sharding": True}, {"compress": "gzip"}], ids=str)
@pytest.mark.parametrize("box", [np.s_[0:33, 7:40, 10:30], np.s_[-5:11, 3:19, 8:24], np.s_[20:21, 20:21, 20:21]])
def test_a_box(tmp_path, voxels, how, box):
    source = make(tmp_path / "a", voxels, **how)
    target = make(tmp_path / "b", np.zeros_like(voxels), **how)
    source.transfer_to(target.cloudpath, box, overwrite=True, progress=False)
    expected = np.zeros_like(voxels)
    inside = tuple(slice(s.start - a, s.stop - a) for s, a in zip(box, LOW, strict=True))
    expected[inside] = voxels[inside]
    np.testing.assert_array_equal(Volume(target.cloudpath)[:], expected)


def test_a_box_goes_to_a_new_place(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    target = transfer(source, f"memory://{tmp_path}/b", box=Bbox((-5, 3, 8), (27, 19, 24)), mips=[0], progress=False)
    np.testing.assert_array_equal(target[-5:27, 3:19, 8:24], voxels[:32, :16, :16])
    assert target.exists().num_present == 2
    assert [level.bounds for level in target.levels] == [source.levels[0].bounds], "of the levels, the one transferred"
    rest = Bbox((27, 3, 8), (65, 53, 48)), Bbox((-5, 19, 8), (27, 53, 48)), Bbox((-5, 3, 24), (27, 19, 48))
    for box in rest:
        transfer(source, target.cloudpath, box=box, mips=[0], progress=False)
    np.testing.assert_array_equal(Volume(target.cloudpath)[:], voxels)


@pytest.mark.parametrize(("first", "second"), [([0], [1]), ([1], [0]), ([1], None), ([0], [0, 1, 1])])
def test_levels_follow_one_another(tmp_path, voxels, first, second, monkeypatch):
    source = make(tmp_path / "a", voxels)
    transfer(source, tmp_path / "b", mips=first, progress=False)
    assert len(Volume(tmp_path / "b").levels) == 1
    described = (tmp_path / "b/info").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, "copy", _full)
        with pytest.raises(NoSpaceError):
            transfer(source, tmp_path / "b", mips=second, progress=False)
    assert (tmp_path / "b/info").read_bytes() == described, "until it is done"
    transfer(source, tmp_path / "b", mips=second, progress=False)
    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_coarser_levels_that_stay_as_they_were_are_named(tmp_path, voxels, caplog):
    source = make(tmp_path / "a", voxels)
    make(tmp_path / "b", voxels)
    transfer(source, tmp_path / "b", mips=[0], overwrite=True, progress=False)
    assert "mips 1 of" in caplog.text
    assert "downsample" in caplog.text
    caplog.clear()
    transfer(source, tmp_path / "c", mips=[1], progress=False)
    transfer(source, tmp_path / "c", mips=[0], progress=False)
    transfer(source, tmp_path / "b", overwrite=True, progress=False)
    assert not caplog.text


def test_another_box_waits_for_one_that_was_cut_off(tmp_path, voxels, monkeypatch):
    monkeypatch.setattr(module, "TASK_BYTES", 16**3)
    source, real, begun = make(tmp_path / "a", voxels), module.Transfer.__call__, []
    first = {"box": Bbox((-5, 3, 8), (27, 35, 40)), "mips": 0, "jobs": 1, "progress": False}
    other = {**first, "box": Bbox((27, 3, 8), (59, 35, 40))}

    def failing(self, task, report):
        begun.append(task)
        if len(begun) == 3:
            raise NoSpaceError("full")
        real(self, task, report)

    with monkeypatch.context() as patch:
        patch.setattr(module.Transfer, "__call__", failing)
        with pytest.raises(NoSpaceError):
            transfer(source, tmp_path / "b", **first)
    for change in (other, {**first, "mips": 1, "box": None}):
        before = {p: p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()}
        with pytest.raises(TargetExistsError, match="Repeat its own command to finish it, or use overwrite=True"):
            transfer(source, tmp_path / "b", **change)
        assert {p: p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()} == before
    made = transfer(source, tmp_path / "b", **first)
    np.testing.assert_array_equal(made[first["box"]], source[first["box"]])
    assert made.exists().num_missing == 5 * 4 * 3 - 8
    transfer(source, tmp_path / "b", **other)
    assert made.exists().num_missing == 5 * 4 * 3 - 16


def test_one_that_was_cut_off_is_given_up_when_asked(tmp_path, voxels, monkeypatch):
    source = make(tmp_path / "a", voxels)
    with monkeypatch.context() as patch:
        patch.setattr(module, "copy", _full)
        with pytest.raises(NoSpaceError):
            transfer(source, tmp_path / "b", box=Bbox((-5, 3, 8), (27, 35, 40)), progress=False)
    transfer(source, tmp_path / "b", overwrite=True, progress=False)
    assert files(tmp_path / "b") == files(tmp_path / "a")


def _full(*args, **how):
    raise NoSpaceError("full")


def test_levels_are_not_added_to_what_is_from_elsewhere(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    make(tmp_path / "c", voxels)
    transfer(tmp_path / "c", tmp_path / "b", mips=[0], progress=False)
    with pytest.raises(OptionError, match="the target has no mip"):
        transfer(source, tmp_path / "b", mips=[1], progress=False)


def test_missing_chunks_are_missing_afterwards(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    transfer(source, tmp_path / "b", progress=False)
    source.delete(Bbox((-5, 3, 8), (11, 19, 24)))
    target = transfer(source, tmp_path / "b", progress=False)
    with pytest.raises(MissingChunkError):
        target[-5:11, 3:19, 8:24]
    assert target.exists().num_missing == 1


def test_it_goes_on_where_it_was_cut_off(tmp_path, voxels, monkeypatch):
    monkeypatch.setattr(module, "TASK_BYTES", 16**3)
    source, calls = make(tmp_path / "a", voxels), []
    real = module.Transfer.__call__

    def failing(self, task, report):
        calls.append(task.number)
        if len(calls) == 5:
            raise NoSpaceError("full")
        real(self, task, report)

    monkeypatch.setattr(module.Transfer, "__call__", failing)
    with pytest.raises(NoSpaceError):
        transfer(source, tmp_path / "b", jobs=1, progress=False)
    assert not (tmp_path / "b/info").exists()
    calls.extend([0] * 10)
    count = len(calls)
    transfer(source, tmp_path / "b", jobs=1, progress=False)
    total = len(calls) - count
    assert total == 5 * 4 * 3 + 3 * 2 * 2 - 4, "four tasks were done"
    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_processes(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    transfer(source, tmp_path / "b", processes=2, progress=False)
    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_nothing_is_decoded(tmp_path, voxels, monkeypatch):
    source = make(tmp_path / "a", voxels, encoding="png")
    source._store = CountedStore(source._store)
    source._forget()
    monkeypatch.setattr(Png, "decode", lambda *_: 1 / 0)
    real = Png.encode
    monkeypatch.setattr(Png, "encode", lambda self, chunk: real(self, chunk) if chunk.size == 1 else 1 / 0)
    transfer(source, tmp_path / "b", progress=False)
    assert source._store.counts.reads >= 5 * 4 * 3


def test_what_cannot_be(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    with pytest.raises(OptionError, match="same dataset"):
        transfer(source, tmp_path / "a")
    make(tmp_path / "other", voxels[:30])
    with pytest.raises(OptionError, match="no mip"):
        transfer(source, tmp_path / "other")


def test_an_open_volume_is_a_target(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    make(tmp_path / "b", np.zeros_like(voxels))
    target = Volume(tmp_path / "b", 1, compress="gzip")
    assert transfer(source, target, overwrite=True, progress=False) is target
    assert {p.suffix for p in (tmp_path / "b/1_1_1").iterdir()} == {".gz"}
    np.testing.assert_array_equal(Volume(tmp_path / "b")[:], voxels)
    np.testing.assert_array_equal(target[:], Volume(tmp_path / "a", 1)[:])
    assert (target.non_aligned_writes, target.fill_missing, target.parallel) == (False, None, True)
    source.transfer_to(target, np.s_[-5:11, 3:19, 8:24], mip=0, compress=False, progress=False)
    assert (tmp_path / "b/1_1_1/-5-11_3-19_8-24").exists()


def test_an_open_volume_whose_info_is_not_stored_is_a_target(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    target = Volume(tmp_path / "b", info=source.info)
    transfer(source, target, progress=False)
    assert files(tmp_path / "b") == files(tmp_path / "a")
    np.testing.assert_array_equal(target[:], voxels)
    target = Volume(tmp_path / "c", info=source.info)
    target[:] = np.zeros_like(voxels)
    with pytest.raises(TargetExistsError):
        transfer(source, target, progress=False)
    assert not (tmp_path / "c/info").exists()


def test_an_open_volume_keeps_the_storage_it_was_opened_with(voxels, tmp_path):
    source = make(tmp_path / "a", voxels)
    target = make(tmp_path / "b", np.zeros_like(voxels))
    counted = CountedStore(target._store)
    target._store = counted
    target._forget()
    transfer(source, target, mips=0, overwrite=True, progress=False)
    assert counted.counts.writes > 1


def test_a_volume_is_no_place(tmp_path, voxels):
    source = make(tmp_path / "a", voxels)
    with pytest.raises(InvalidURLError, match="not an open volume; this one's is 'precomputed://"):
        convert(source, Volume(tmp_path / "a"))
    with pytest.raises(InvalidURLError, match="not an open volume"):
        Volume.from_numpy(voxels, source)


def test_command(tmp_path, voxels, capsys):
    make(tmp_path / "a", voxels)
    command = ["transfer", str(tmp_path / "a"), str(tmp_path / "b"), "--mip", "0", "--box", "-5:11,3:19,8:24"]
    assert run(command) == 0
    assert "b: levels 70x50x40\n" in capsys.readouterr().out
    assert Volume(tmp_path / "b").exists().num_present == 1


def test_chunks_from_elsewhere_are_not_written_over_unasked(tmp_path, voxels, capsys):
    source, other = make(tmp_path / "a", voxels), make(tmp_path / "b", np.zeros_like(voxels))
    before = files(tmp_path / "b")
    with pytest.raises(TargetExistsError, match="overwrite"):
        transfer(source, other.cloudpath, progress=False)
    assert run(["transfer", source.cloudpath, other.cloudpath]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert files(tmp_path / "b") == before
    transfer(source, other.cloudpath, box=Bbox((-5, 3, 8), (27, 19, 24)), mips=0, overwrite=True, progress=False)
    transfer(source, other.cloudpath, progress=False)
    assert files(tmp_path / "b") == files(tmp_path / "a"), "the last transfer there was from the same source"


@pytest.mark.parametrize("how", [{}, {"compress": "gzip"}, {"encoding": "png"}, {"sharding": True}], ids=str)
def test_a_dry_run_tells_what_it_then_takes(tmp_path, voxels, how, monkeypatch):
    monkeypatch.setattr(module, "TASK_BYTES", 32**3)
    monkeypatch.setattr(trial, "SAMPLE_BYTES", 16**3)
    source = make(tmp_path / "a", voxels, **how)
    told = transfer(source, tmp_path / "b", dry_run=True)
    assert not (tmp_path / "b").exists()
    transfer(source, tmp_path / "b", progress=False)
    assert [level.key for level in told.levels] == ["1_1_1", "2_2_2"]
    for mip, level in enumerate(told.levels):
        stored = sum(path.stat().st_size for path in (tmp_path / "b" / level.key).iterdir())
        assert level.shape == source.mip_shape(mip)
        assert level.chunks == source.exists(mip=mip).total
        assert stored / 2 < level.stored_bytes < 2 * stored
    assert told.read_bytes == told.voxel_bytes == sum(np.prod(source.mip_shape(mip)) for mip in (0, 1))
    assert told.seconds > 0


def test_a_dry_run_of_a_box_with_other_chunks(tmp_path, voxels, capsys):
    source = make(tmp_path / "a", voxels, compress="gzip")
    target = make(tmp_path / "b", np.zeros_like(voxels), chunk_size=(10, 20, 5))
    before = files(tmp_path / "b")
    command = ["transfer", source.cloudpath, target.cloudpath, "--mip", "0", "--box", "0:33,7:40,10:30", "--overwrite"]
    assert run([*command, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["read_bytes"] == 33 * 33 * 20
    assert told["levels"][0]["shape"] == [33, 33, 20, 1]
    assert files(tmp_path / "b") == before
    assert not (tmp_path / "b/.volumekit/transfer.json").exists()


def test_the_time_is_that_of_the_sample_per_byte(tmp_path, voxels, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(trial.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(module, "TASK_BYTES", 16**3)
    monkeypatch.setattr(trial, "SAMPLE_BYTES", 16**3)
    told = transfer(make(tmp_path / "a", voxels), tmp_path / "b", mips=0, dry_run=True)
    sampled = told.voxel_bytes / told.seconds
    assert 2 * 16**3 <= sampled <= 4 * 16**3
    assert told.tasks == 5 * 4 * 3


@pytest.mark.parametrize("case", ["v2 byte order", "v3 byte order", "filters", "fill", "rank of N5"])
def test_what_looks_alike_but_is_stored_otherwise(tmp_path, case):
    """Chunks of one shape, type and compressor are decoded where their bytes mean something else, or their absence."""
    import numcodecs
    import zarr

    data = np.arange(8 * 8 * 8, dtype="uint16").reshape(8, 8, 8)
    data[:4] = 7
    how = {
        "v2 byte order": [{"zarr_format": 2, "dtype": order, "compressors": None} for order in (">u2", "<u2")],
        "v3 byte order": [
            {"dtype": "u2", "compressors": None, "serializer": zarr.codecs.BytesCodec(endian=endian)}
            for endian in ("big", "little")
        ],
        "filters": [
            {"zarr_format": 2, "dtype": "u2", "filters": [numcodecs.Delta("u2", astype)], "compressors": None}
            for astype in ("u2", ">u2")
        ],
        "fill": [{"dtype": "u2", "fill_value": fill} for fill in (7, 0)],
    }.get(case, [])
    paths = [tmp_path / "source", tmp_path / "target"]
    for path, options in zip(paths, how, strict=False):
        zarr.create_array(path, shape=(8, 8, 8), chunks=(4, 4, 4), **{"fill_value": 0, **options})
    for path, rank in zip(paths, (3, 4) if not how else (), strict=False):
        path.mkdir()
        n5 = {"dimensions": [8] * 3 + [1] * (rank - 3), "blockSize": [4] * 3 + [1] * (rank - 3)}
        described = {**n5, "dataType": "uint16", "compression": {"type": "gzip"}}
        (path / "attributes.json").write_text(json.dumps(described))
    source = Volume(paths[0], delete_black_uploads=True)
    source[...] = data
    transfer(source, paths[1], progress=False)
    np.testing.assert_array_equal(Volume(paths[1])[..., 0], data)
    np.testing.assert_array_equal(Volume(paths[0])[..., 0], data)
