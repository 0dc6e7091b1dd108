"""What goes wrong in the middle of a job: damaged images, a full disk, a source that changes. Nothing is lost."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess

import fsspec
import numpy as np
import pytest
import tifffile
from fsspec.implementations.memory import MemoryFileSystem

from volumekit import Bbox, Volume, convert, downsample, transfer
from volumekit.cli.main import run
from volumekit.errors import CorruptChunkError, NoSpaceError, OptionError, StorageError, TargetExistsError
from volumekit.ops import build, watch
from volumekit.ops.ladder import PROGRAM_BYTES
from volumekit.ops.stream import Stream

FEW = PROGRAM_BYTES + (2 << 20)
SHAPE = (300, 400, 24)


def planes():
    return np.random.default_rng(3).integers(1, 255, SHAPE, np.uint8)


@pytest.fixture
def stack(tmp_path):
    """A stack of which image 5 is damaged in its voxels, image 9 in its headers, and image 12 has another size."""
    folder, voxels = tmp_path / "slices", planes()
    folder.mkdir()
    for z in range(SHAPE[2]):
        tifffile.imwrite(folder / f"{z:03}.tif", voxels[:, :, z].T, compression="zlib")
    whole = (folder / "005.tif").read_bytes()
    (folder / "005.tif").write_bytes(whole[:1000] + bytes(2000) + whole[3000:])
    (folder / "009.tif").write_bytes(b"II*\0")
    tifffile.imwrite(folder / "012.tif", voxels[:50, :, 12].T)
    return folder


def test_damaged_images_are_left_out_and_named(stack, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="volumekit"):
        made = convert(stack, tmp_path / "out", voxel_size=(4, 4, 4), mips=1, on_error="skip", progress=False)
    assert "3 images are damaged and left out, voxels there are 0: 005.tif, 009.tif, 012.tif" in caplog.text
    expected = planes()
    expected[:, :, [5, 9, 12]] = 0
    np.testing.assert_array_equal(made[:][..., 0], expected)
    assert list(made.provenance.processing[-1]["damaged"]) == ["005.tif", "009.tif", "012.tif"]
    twin = Volume.from_numpy(expected, tmp_path / "twin", resolution=(4, 4, 4), chunk_size=(64, 64, 64))
    twin = downsample(twin, progress=False)
    np.testing.assert_array_equal(Volume(made.cloudpath, 1)[:], Volume(twin.cloudpath, 1)[:])


@pytest.mark.parametrize("how", [[], ["--processes", "2"]])
def test_the_command_lists_them_and_fails(stack, tmp_path, capsys, how):
    command = ["convert", str(stack), str(tmp_path / "out"), "--voxel-size", "4,4,4", "--on-error", "skip", *how]
    assert run(command) == 1
    told = capsys.readouterr().err
    assert [line.split(": ")[1] for line in told.splitlines() if line.startswith("damaged")] == [
        "005.tif",
        "009.tif",
        "012.tif",
    ]
    assert Volume(tmp_path / "out").exists().num_missing == 0
    assert run(command) == 1, "the result is as it was"
    assert "damaged: 009.tif" in capsys.readouterr().err


def test_without_skipping_the_rest_is_done_and_skipping_finishes_it(stack, tmp_path, capsys):
    (stack / "009.tif").write_bytes((stack / "008.tif").read_bytes())
    (stack / "012.tif").write_bytes((stack / "008.tif").read_bytes())
    how = {"voxel_size": (4, 4, 4), "chunk_size": (32, 32, 4), "memory": FEW, "progress": False}
    with pytest.raises(CorruptChunkError) as caught:
        convert(stack, tmp_path / "out", **how)
    assert "005.tif" in str(caught.value)
    journal = json.loads((tmp_path / "out/.volumekit/convert.json").read_text())
    assert (journal["finished"], journal["damaged"]) == (False, {})
    assert not (tmp_path / "out/info").exists()
    made = convert(stack, tmp_path / "out", on_error="skip", **how)
    expected = planes()
    expected[:, :, [9, 12]] = expected[:, :, [8]]
    expected[:, :, 5] = 0
    np.testing.assert_array_equal(made[:][..., 0], expected)


def test_damaged_headers_fail_before_anything_is_written(stack, tmp_path):
    with pytest.raises(CorruptChunkError, match=r"^2 images are damaged: 009\.tif: .*; 012\.tif: ") as caught:
        convert(stack, tmp_path / "out", voxel_size=(4, 4, 4))
    assert list(caught.value.damaged) == ["009.tif", "012.tif"]
    assert not (tmp_path / "out").exists()
    told = convert(stack, tmp_path / "out", voxel_size=(4, 4, 4), on_error="skip", dry_run=True)
    assert told.levels[0].shape == (*SHAPE, 1)


def test_what_was_left_out_before_a_break_is_named_in_the_end(stack, tmp_path, monkeypatch):
    how = {"voxel_size": (4, 4, 4), "chunk_size": (16, 16, 24), "memory": FEW, "jobs": 1, "progress": False}
    real, done = build.Build.__call__, []

    def stops(self, task, report):
        if len(done) == 3:
            raise NoSpaceError("full")
        done.append(task.number)
        return real(self, task, report)

    monkeypatch.setattr(build.Build, "__call__", stops)
    with pytest.raises(NoSpaceError):
        convert(stack, tmp_path / "out", on_error="skip", **how)
    monkeypatch.undo()
    journal = json.loads((tmp_path / "out/.volumekit/convert.json").read_text())
    assert sorted(journal["damaged"]) == ["005.tif", "009.tif", "012.tif"]
    monkeypatch.setattr(build, "apart", lambda source: (source, {}))
    made = convert(stack, tmp_path / "out", on_error="skip", **how)
    assert list(made.provenance.processing[-1]["damaged"]) == ["005.tif", "009.tif", "012.tif"]


def test_only_images_are_skipped(tmp_path):
    source = Volume.from_numpy(planes(), tmp_path / "a", chunk_size=(64, 64, 64))
    with pytest.raises(OptionError, match="fill_missing"):
        convert(source, tmp_path / "b", on_error="skip")
    with pytest.raises(OptionError, match="fail or skip"):
        convert(planes(), tmp_path / "b", on_error="ignore")


class FullFileSystem(MemoryFileSystem):
    """A disk of so many bytes."""

    protocol = "full"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    room = 0

    def pipe_file(self, path, value, mode="overwrite", **how):
        if sum(len(file.getbuffer()) for file in self.store.values()) + len(value) > type(self).room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pipe_file(path, value, mode=mode, **how)


@pytest.fixture
def disk():
    FullFileSystem.store.clear()
    fsspec.register_implementation("full", FullFileSystem, clobber=True)
    yield FullFileSystem
    FullFileSystem.store.clear()


@pytest.fixture
def source(tmp_path):
    voxels = np.random.default_rng(3).integers(1, 255, (300, 300, 20), np.uint8)
    return Volume.from_numpy(voxels, tmp_path / "source", chunk_size=(16, 16, 16), voxel_offset=(-5, 3, 8))


def into(name):
    """Return a job that writes to a place."""
    return {
        "convert": lambda src, dst: convert(src, dst, mips=1, chunk_size=16, memory=FEW, jobs=1, progress=False),
        "transfer": lambda src, dst: transfer(src, dst, jobs=1, progress=False),
        "map": lambda src, dst: src.map(np.negative, dst, shape=32, jobs=1, progress=False),
    }[name]


@pytest.mark.parametrize("name", ["convert", "transfer", "map"])
def test_a_full_disk_loses_nothing(source, disk, name, monkeypatch):
    monkeypatch.setattr("volumekit.ops.transfer.TASK_BYTES", 64**3)
    job = into(name)
    disk.room = 900_000
    with pytest.raises(NoSpaceError, match="full"):
        job(source, "full://target")
    journal = json.loads(disk.store[f"full://target/.volumekit/{name}.json"].getvalue())
    assert not journal["finished"]
    assert journal["done"], "what was done by then counts"
    assert "full://target/info" not in disk.store
    disk.room = 1 << 40
    made = job(source, "full://target")
    expected = np.negative(source[:]) if name == "map" else source[:]
    np.testing.assert_array_equal(made[:], expected)


def test_a_full_disk_of_this_machine(source, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems can be mounted by root only")
    try:
        job, many = into("convert"), Volume.from_numpy(np.tile(source[:], (2, 2, 1, 1)), tmp_path / "many")
        with pytest.raises(NoSpaceError, match="full"):
            job(many, place / "target")
        assert not (place / "target/info").exists()
        subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
        np.testing.assert_array_equal(job(many, place / "target")[:], many[:])
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_source_that_changes_is_noticed_soon(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "SECONDS", 0)
    done = []

    class Changing(Stream):
        def run(self):
            super().run()
            done.append(self.task.number)
            if len(done) == 2:
                tifffile.imwrite(stack / "020.tif", planes()[:, :, 3].T)

    monkeypatch.setattr(build, "Stream", Changing)
    how = {"voxel_size": (4, 4, 4), "chunk_size": (16, 16, 24), "memory": FEW, "jobs": 1, "progress": False}
    with pytest.raises(StorageError, match="changed while it was read"):
        convert(stack, tmp_path / "out", on_error="skip", **how)
    assert len(done) == 2
    assert not (tmp_path / "out/info").exists()
    with pytest.raises(TargetExistsError, match="the source has changed since"):
        convert(stack, tmp_path / "out", on_error="skip", **how)


# Damaged images that are left out, and then are not


@pytest.fixture
def torn(stack):
    """The stack with image 5 damaged in its voxels, and no other."""
    for name in ("009.tif", "012.tif"):
        (stack / name).write_bytes((stack / "008.tif").read_bytes())
    return stack


def mended(torn):
    (torn / "005.tif").write_bytes((torn / "004.tif").read_bytes())
    voxels = planes()
    voxels[:, :, [9, 12]] = voxels[:, :, [8]]
    voxels[:, :, 5] = voxels[:, :, 4]
    return voxels


AGAIN = {"voxel_size": (4, 4, 4), "chunk_size": (32, 32, 4), "mips": 1, "memory": FEW, "jobs": 1, "progress": False}


@pytest.mark.parametrize(("name", "on_error", "method"), [("out", "fail", "mean"), ("out.zarr", "skip", "gaussian")])
def test_what_was_left_out_is_done_again_when_the_image_is_whole(
    torn, tmp_path, name, on_error, method, monkeypatch, caplog
):
    monkeypatch.setattr("volumekit.ops.ladder.SLABS", 1)
    again = {**AGAIN, "memory": FEW if method == "mean" else "500MB", "method": method}
    convert(torn, tmp_path / name, on_error="skip", **again)
    assert "1 image is damaged" in caplog.text
    voxels, tasks, real = mended(torn), [], build.Build.__call__
    monkeypatch.setattr(
        build.Build, "__call__", lambda self, task, report: tasks.append(task) or real(self, task, report)
    )
    made = convert(torn, tmp_path / name, on_error=on_error, **again)
    first = [task.box for task in tasks if task.stage == 0]
    assert len({box.minpt.z for box in first}) == 1, "those with the image"
    assert all(box.minpt.z <= 5 < box.maxpt.z < SHAPE[2] for box in first), "and no others"
    assert {task.stage for task in tasks} == ({0, 1} if method == "gaussian" else {0})
    np.testing.assert_array_equal(made[:][..., 0], voxels)
    twin = convert(torn, tmp_path / f"twin_{name}", **again)
    np.testing.assert_array_equal(Volume(made.cloudpath, 1)[:], Volume(twin.cloudpath, 1)[:])
    assert "damaged" not in made.provenance.processing[-1]
    tasks.clear()
    caplog.clear()
    convert(torn, tmp_path / name, on_error="skip", **again)
    assert not tasks
    assert "nothing is left" in caplog.text
    assert not list((tmp_path / "out.zarr").glob(".volumekit*"))


@pytest.mark.parametrize(
    "how", [{}, {"axes": "zyx"}, {"axes": "yxz", "data_type": "uint16"}, {"rescale": (0, 255)}, {"processes": 2}]
)
@pytest.mark.parametrize("paged", [False, True])
def test_all_damaged_images_of_a_task_are_named(torn, tmp_path, how, paged):
    """Not the first alone; and once those that are named are whole, the same call goes on."""
    for name in ("006.tif", "011.tif"):
        (torn / name).write_bytes((torn / "005.tif").read_bytes())
    source, names = torn, ["005.tif", "006.tif", "011.tif"]
    if paged:
        source, names = paged_twin(torn, tmp_path / "pages.tif"), ["pages.tif#11", "pages.tif#5", "pages.tif#6"]
    how = {"voxel_size": (4, 4, 4), "chunk_size": (32, 32, 12), "offset": (3, 5, 7), "progress": False, **how}
    how["data_type"] = how.get("data_type", "uint8")
    with pytest.raises(CorruptChunkError) as caught:
        convert(source, tmp_path / "out", **how)
    assert sorted(caught.value.damaged) == names
    assert "3 images are damaged: " in str(caught.value)
    assert all(f"{name}: {reason}" in str(caught.value) for name, reason in caught.value.damaged.items())
    if not paged:
        for name in names:
            (torn / name).write_bytes((torn / "004.tif").read_bytes())
        made = convert(source, tmp_path / "out", **how)
        twin = convert(source, tmp_path / "twin", **how)
        np.testing.assert_array_equal(made[:], twin[:])


def paged_twin(folder, path):
    """Make one TIFF of many pages, of which 5, 6 and 11 are damaged in their voxels."""
    with tifffile.TiffWriter(path) as writer:
        for z in range(SHAPE[2]):
            writer.write(planes()[:, :, z].T, compression="zlib")
    with tifffile.TiffFile(path) as file:
        places = [file.pages[n].dataoffsets[0] for n in (5, 6, 11)]
    data = bytearray(path.read_bytes())
    for place in places:
        data[place + 1000 : place + 3000] = bytes(2000)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["out", "out.zarr"])
def test_what_is_damaged_still_fails_when_asked_and_the_result_stays(torn, tmp_path, name):
    made = convert(torn, tmp_path / name, on_error="skip", **AGAIN)
    before = made[:]
    for _ in range(2):
        with pytest.raises(CorruptChunkError, match=r"005\.tif"):
            convert(torn, tmp_path / name, on_error="fail", **AGAIN)
        np.testing.assert_array_equal(Volume(tmp_path / name)[:], before)
    again = convert(torn, tmp_path / name, on_error="skip", **AGAIN)
    assert list(again.provenance.processing[-1]["damaged"]) == ["005.tif"]
    np.testing.assert_array_equal(again[:], before)
    np.testing.assert_array_equal(convert(torn, tmp_path / name, on_error="skip", **AGAIN)[:], before)


def test_what_was_left_out_is_verified_as_such(torn, tmp_path):
    made = convert(torn, tmp_path / "out", on_error="skip", verify=True, **AGAIN)
    assert "equal" in made.provenance.processing[-1]["verified"]
    assert list(made.provenance.processing[-1]["damaged"]) == ["005.tif"]


def test_other_images_than_the_damaged_ones_are_the_same_or_it_is_another_job(torn, tmp_path):
    convert(torn, tmp_path / "out", on_error="skip", **AGAIN)
    mended(torn)
    (torn / "017.tif").write_bytes((torn / "005.tif").read_bytes())
    with pytest.raises(TargetExistsError, match="already"):
        convert(torn, tmp_path / "out", **AGAIN)


def test_a_break_after_leaving_out_does_not_hide_it_from_those_who_want_to_fail(torn, tmp_path, monkeypatch):
    real = build.Build.__call__

    def stops(self, task, report):
        if task.box.minpt.z > 5:
            raise NoSpaceError("full")
        return real(self, task, report)

    monkeypatch.setattr("volumekit.ops.ladder.SLABS", 1)
    with monkeypatch.context() as patch:
        patch.setattr(build.Build, "__call__", stops)
        with pytest.raises(NoSpaceError):
            convert(torn, tmp_path / "out", on_error="skip", **AGAIN)
    with pytest.raises(CorruptChunkError, match=r"005\.tif"):
        convert(torn, tmp_path / "out", on_error="fail", **AGAIN)
    voxels = mended(torn)
    np.testing.assert_array_equal(convert(torn, tmp_path / "out", on_error="fail", **AGAIN)[:][..., 0], voxels)


def test_the_command_lists_all_tasks_that_failed(torn, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("volumekit.ops.ladder.SLABS", 1)
    (torn / "020.tif").write_bytes((torn / "005.tif").read_bytes())
    command = ["convert", torn, tmp_path / "out", "--voxel-size", "4,4,4", "--chunk-size", "32,32,4", "--memory", FEW]
    assert run([str(part) for part in command]) == 1
    lines = capsys.readouterr().err.splitlines()
    told = lines[next(n for n, line in enumerate(lines) if line.startswith("error: ")) + 1 :]
    failed, tasks = (int(told[0].split()[n]) for n in (0, 2))
    assert told[0].strip() == f"{failed} of {tasks} tasks failed; the others of this stage are done:"
    assert len(told) == 1 + failed < 1 + tasks
    assert {name for name in ("005.tif", "020.tif") for line in told if f"key: {name}" in line} == {
        "005.tif",
        "020.tif",
    }
    monkeypatch.setattr("volumekit.cli.main.SHOWN", 2)
    assert run([str(part) for part in command]) == 1
    assert capsys.readouterr().err.splitlines()[-1].strip().startswith(f"and {failed - 1} more")


@pytest.mark.parametrize("axes", ["xyz", "zyx"])
def test_an_image_that_was_replaced_after_a_failure_is_read_by_all_that_need_it(torn, tmp_path, axes, monkeypatch):
    """Strips of it that could be read are stored before, and are others in the new one."""
    monkeypatch.setattr("volumekit.ops.ladder.SLABS", 1)
    for name in ("005.tif", "020.tif"):
        tifffile.imwrite(torn / name, planes()[:, :, 7].T, compression="zlib", rowsperstrip=16)
        whole = (torn / name).read_bytes()
        (torn / name).write_bytes(whole[:-3000] + bytes(3000))
    how = {**AGAIN, "axes": axes, "box": Bbox((0, 0, 2), SHAPE), "offset": (1, 2, 3)}
    real, tasks = build.Build.__call__, []
    monkeypatch.setattr(
        build.Build, "__call__", lambda self, task, report: tasks.append(task.number) or real(self, task, report)
    )
    for name, other in (("005.tif", "004.tif"), ("020.tif", "003.tif")):
        with pytest.raises(CorruptChunkError, match=r"\.tif"):
            convert(torn, tmp_path / "out", **how)
        (torn / name).write_bytes((torn / other).read_bytes())
    tasks.clear()
    made = convert(torn, tmp_path / "out", **how)
    again = len(tasks)
    tasks.clear()
    twin = convert(torn, tmp_path / "twin", **how)
    np.testing.assert_array_equal(made[:], twin[:])
    np.testing.assert_array_equal(Volume(made.cloudpath, 1)[:], Volume(twin.cloudpath, 1)[:])
    assert (again < len(tasks)) == (axes == "xyz")
    journal = json.loads((tmp_path / "out/.volumekit/convert.json").read_text())
    assert (journal["marks"], journal["lacking"], journal["finished"]) == ({}, [], True)


def test_an_image_that_failed_nothing_may_not_be_replaced(torn, tmp_path):
    with pytest.raises(CorruptChunkError):
        convert(torn, tmp_path / "out", **AGAIN)
    (torn / "017.tif").write_bytes((torn / "003.tif").read_bytes())
    with pytest.raises(
        TargetExistsError, match=r"of this very command, but the source has changed .*Put the source back"
    ):
        convert(torn, tmp_path / "out", **AGAIN)
