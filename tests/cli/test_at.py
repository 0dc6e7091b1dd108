"""``--at``: positions on further axes, and parts of a dataset."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from benchmarks.campaigns.kill_jobs import objects
from volumekit import Volume, convert
from volumekit.cli.main import run
from volumekit.errors import OptionError
from volumekit.ops.kernels import downsample as reduced
from volumekit.volume.create import MADE


def call(*args):
    return run([str(arg) for arg in args])


def write_film(path, data, *, together=1):
    """Write points in time, of which ``together`` share a chunk; each voxel (x, y, z, t)."""
    group = zarr.open_group(path, mode="w")
    group.create_array("0", data=np.ascontiguousarray(data.T), chunks=(together, 6, 7, 8))
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "zyx")]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 4, 4, 4]}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path, data


@pytest.fixture
def film(tmp_path):
    """Three points in time, with labels of other voxels."""
    return write_film(tmp_path / "film.zarr", np.random.default_rng(0).integers(1, 99, (8, 7, 6, 3), dtype=np.uint8))


@pytest.fixture
def labelled(tmp_path):
    image = np.random.default_rng(1).integers(1, 99, (8, 7, 6), dtype=np.uint8)
    convert(image, tmp_path / "brain.zarr", progress=False, voxel_size=(4, 4, 4))
    cells = (image // 9).astype(np.uint32)
    place = tmp_path / "brain.zarr" / "labels" / "cells"
    convert(cells, place, layer_type="segmentation", progress=False, voxel_size=(4, 4, 4))
    return tmp_path / "brain.zarr", cells


def test_info(film, labelled, capsys):
    assert call("info", film[0], "--at", "t=2") == 0
    assert "t: 3 positions, this is 2" in capsys.readouterr().out
    assert call("info", labelled[0], "--at", "label=cells", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["layer_type"], told["data_type"]) == ("segmentation", "uint32")


def test_exists(film, capsys):
    (film[0] / "0" / "c" / "1" / "0" / "0" / "0").unlink()
    for t, present in ((0, 1), (1, 0), (2, 1)):
        assert call("exists", film[0], "--at", f"t={t}", "--json") == 0
        assert json.loads(capsys.readouterr().out)["present"] == present


def test_export(film, tmp_path):
    assert call("export", film[0], tmp_path / "out.npy", "--at", "t=1", "--quiet") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy").reshape(8, 7, 6), film[1][..., 1])


@pytest.mark.parametrize("target", ["v", "v.zarr", "v.n5"])
def test_convert_and_verify(film, tmp_path, caplog, target):
    """Each position is another conversion; nothing is left out without a word."""
    path, data = film
    out = tmp_path / target
    assert call("convert", path, out, "--at", "t=1", "--quiet", "--jobs", 2) == 0
    assert call("convert", path, out, "--at", "t=1", "--quiet", "--jobs", 2) == 0
    assert "positions of t" not in caplog.text
    np.testing.assert_array_equal(Volume(out)[..., 0], data[..., 1])
    assert call("convert", path, out, "--at", "t=2", "--quiet") == 1
    assert call("verify", path, out, "--at", "t=1", "--quiet") == 0
    assert call("verify", path, out, "--at", "t=2", "--quiet") == 1
    assert call("verify", path, out, "--quiet") == 1
    assert call("convert", path, out, "--at", "t=2", "--quiet", "--overwrite") == 0
    np.testing.assert_array_equal(Volume(out)[..., 0], data[..., 2])
    assert call("convert", path, tmp_path / "first", "--quiet") == 0
    assert "of 3 positions of t the first is converted; at= (--at) chooses another" in caplog.text


def test_convert_labels_without_writing(labelled, tmp_path, capsys):
    path, cells = labelled
    assert call("convert", path, tmp_path / "v", "--at", "label=cells", "--dry-run", "--quiet") == 0
    assert not (tmp_path / "v").exists()
    assert call("convert", path, tmp_path / "v", "--at", "label=cells", "--quiet") == 0
    made = Volume(tmp_path / "v")
    assert made.layer_type == "segmentation"
    np.testing.assert_array_equal(made[..., 0], cells)


def test_transfer(film, tmp_path):
    out = tmp_path / "v.zarr"
    convert(film[1][..., 0], out, voxel_size=(4, 4, 4), progress=False)
    assert call("transfer", film[0], out, "--at", "t=2", "--quiet", "--overwrite") == 0
    np.testing.assert_array_equal(Volume(out)[..., 0], film[1][..., 2])


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("source_together", [1, 3])
def test_transfer_from_one_position_to_another(film, tmp_path, capsys, together, source_together):
    """The others stay as they are; the first is never taken for the one that was meant."""
    path, data = write_film(tmp_path / "source.zarr", film[1], together=source_together)
    before = data[..., ::-1] + np.uint8(100)
    target, _ = write_film(tmp_path / "target.zarr", before, together=together)
    for given in ([], ["--at", "t=2"], ["--dst-at", "t=1"]):
        assert call("transfer", path, target, *given, "--quiet", "--overwrite") == 2
        told = capsys.readouterr().err
        assert f"the {'target' if '--at' in given else 'source'} has 3 positions of t" in told
        assert ("or --dst-at t=" in told) == ("--at" in given)
    assert call("transfer", path, target, "--at", "t=2", "--dst-at", "t=1", "--quiet") == 1, "there is something"
    assert not (target / ".volumekit").exists()
    places = ["--at", "t=2", "--dst-at", "t=1", "--quiet"]
    assert call("transfer", path, target, *places, "--overwrite") == 0
    for t in (0, 2):
        np.testing.assert_array_equal(Volume(target, at={"t": t})[..., 0], before[..., t])
    np.testing.assert_array_equal(Volume(target, at={"t": 1})[..., 0], data[..., 2])
    assert call("verify", path, target, *places) == 0
    assert call("verify", path, target, "--at", "t=2", "--dst-at", "t=0", "--quiet") == 1


def test_verify_tells_of_what_it_leaves_out(film, caplog):
    assert call("verify", film[0], film[0], "--quiet") == 0
    assert caplog.text.count("of 3 positions of t the first is compared; at= (--at) chooses another") == 2


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("where", [["--processes", 2], ["--dask", "local"]])
def test_elsewhere(film, tmp_path, where, together):
    """In other processes, and on a cluster, the same position is worked on as in threads: the same bytes."""
    path, data = write_film(tmp_path / "source.zarr", film[1], together=together)
    made = {}
    for name, how in (("threads", []), ("elsewhere", where)):
        folder = tmp_path / name
        blank, _ = write_film(folder / "film.zarr", np.zeros_like(data), together=together)
        how = [*how, "--quiet"]
        assert call("convert", path, folder / "v", "--at", "t=1", "--chunk-size", 4, "--mips", 1, *how) == 0
        assert call("transfer", path, blank, "--at", "t=1", "--dst-at", "t=2", "--overwrite", *how) == 0
        assert call("downsample", blank, "--at", "t=1", "--mips", 2, *how) == 0
        assert call("verify", path, folder / "v", "--at", "t=1", *how) == 0
        assert call("verify", path, folder / "v", "--at", "t=2", *how) == 1
        assert call("verify", path, blank, "--at", "t=1", "--dst-at", "t=2", *how) == 0
        made[name] = {
            key: data for key, data in objects(folder).items() if key != "film.zarr/zarr.json"
        }  # has the time
    assert made["elsewhere"] == made["threads"]
    np.testing.assert_array_equal(Volume(tmp_path / "elsewhere/v")[..., 0], data[..., 1])
    for t in range(3):
        expected = data[..., 1] if t == 2 else np.zeros_like(data[..., 0])
        for mip in range(3):
            np.testing.assert_array_equal(
                Volume(tmp_path / "elsewhere/film.zarr", mip=mip, at={"t": t})[..., 0], expected
            )
            expected = reduced(expected, (2, 2, 2), method="mean")


def test_levels_of_a_part(labelled, capsys):
    """Labels get their own levels; the image beside them stays as it is."""
    path, cells = labelled
    assert call("downsample", path, "--at", "label=cells", "--quiet") == 0
    assert "levels 8x7x6, 4x4x3" in capsys.readouterr().out
    assert len(Volume(path).levels) == 1
    made = Volume(path, mip=1, at={"label": "cells"})
    np.testing.assert_array_equal(made[..., 0], reduced(cells, (2, 2, 2), method="mode"))


def test_several_together(film, monkeypatch):
    """Commas and repetition are the same; whole numbers are numbers, everything else is a name."""
    seen = []

    def opened(url, *args, at=None, **how):
        seen.append(at)
        raise OptionError("seen")

    monkeypatch.setattr("volumekit.volume.volume.Volume", opened)
    same = (["--at", "t=3,label=cells"], ["--at", "t=3", "--at", "label=cells"], ["--at", " t = 3 , label = cells "])
    for given in (*same, ["--at", "well=A/2,field=-1,label=007,series=3.5"], []):
        assert call("info", film[0], *given) == 2
    assert seen == [{"t": 3, "label": "cells"}] * 3 + [
        {"well": "A/2", "field": -1, "label": "007", "series": "3.5"},
        None,
    ]
    assert [type(value) for value in seen[0].values()] == [int, str]


@pytest.mark.parametrize(
    "text", ["", "t", "3", "t=", "=3", "t=3,", "t=3,,label=a", "t==3", "t=3 label=a", "t:3", " = "]
)
@pytest.mark.parametrize("command", ["info", "convert"])
def test_malformed(film, tmp_path, capsys, command, text):
    assert call(command, film[0], *[tmp_path / "v"] * (command == "convert"), "--at", text) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert f"{text!r} is not NAME=POSITION, such as t=3, label=cells or t=3,label=cells" in shown
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("given", [["t=1,t=2"], ["t=1", "t=2"], ["t=1", "t=1"]])
def test_twice(film, capsys, given):
    assert call("info", film[0], *(word for text in given for word in ("--at", text))) == 2
    assert "says twice what t is" in capsys.readouterr().err


@pytest.mark.parametrize("at", ["t=3", "t=-4", "t=a", "q=1", "label=none"])
@pytest.mark.parametrize("command", ["info", "exists", "export", "convert", "transfer", "verify", "view"])
def test_what_is_not_there(film, tmp_path, capsys, command, at):
    """Every command refuses it, before anything is written."""
    target = [] if command in ("info", "exists", "view") else [tmp_path / "new.npy"]
    assert call(command, film[0], *target, "--at", at) in (1, 2)
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "new.npy").exists()


def test_where_there_is_nothing_to_choose(film, tmp_path, capsys):
    convert(np.ones((8, 8, 8), np.uint8), tmp_path / "v", progress=False)
    assert call("info", tmp_path / "v", "--at", "t=1") == 1
    assert "no further axes" in capsys.readouterr().err
    assert call("convert", tmp_path / "v", "--compress", "gzip", "--at", "t=1") == 2
    assert "--at needs a DST" in capsys.readouterr().err
    assert call("convert", film[0], tmp_path / "v", "--first-new-level", 1, "--mips", 1, "--at", "t=1") == 2
    assert "SRC is not read; leave out --at" in capsys.readouterr().err


def test_formats_to_choose_from_can_be_written(film, tmp_path, capsys):
    assert call("convert", film[0], tmp_path / "v", "--format", "foo") == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert f"'foo' is not one of {', '.join(MADE)}" in shown
    assert "stack" not in shown
    for name in MADE:
        assert call("convert", film[0], tmp_path / name, "--format", name, "--quiet") == 0
