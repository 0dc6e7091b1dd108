"""``volumekit cache``: what it tells and does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from volumekit import Volume
from volumekit.cli.main import run


@pytest.fixture
def source(tmp_path):
    voxels = np.random.default_rng(1).integers(1, 255, (64, 64, 32), np.uint8)
    return Volume.from_numpy(voxels, tmp_path / "remote", chunk_size=(32, 32, 32), max_mip=1)


@pytest.fixture
def call(tmp_path, capsys):
    def run_it(*args):
        code = run(["cache", *map(str, args), "--cache", str(tmp_path / "cache")])
        return code, capsys.readouterr()

    return run_it


def test_prefetch_ls_du_flush(source, call):
    assert call("ls")[1].out == "nothing is in the cache\n"
    code, told = call("prefetch", source.cloudpath, "--box", "0:33,0:10,0:10")
    assert (code, told.out) == (0, "2 chunks fetched, 0.1 MB; 0 were there\n")
    assert call("prefetch", source.cloudpath)[1].out.startswith("2 chunks fetched")
    assert json.loads(call("ls", source.cloudpath, "--json")[1].out)[0] == "1_1_1/0-32_0-32_0-32"
    (name,) = json.loads(call("ls", "--json")[1].out)
    assert name.startswith("file/")
    told = json.loads(call("du", "--json")[1].out)
    assert (told["bytes"], told["datasets"][name]["chunks"]) == (4 * 32**3, 4)
    assert "4 chunks" in call("du")[1].out
    assert call("flush", source.cloudpath, "--box", "0:3,0:3,0:3")[0] == 0
    assert len(json.loads(call("ls", source.cloudpath, "--json")[1].out)) == 3
    assert call("flush", "--all")[0] == 0
    assert call("ls")[1].out == "nothing is in the cache\n"
    assert call("flush")[0] == 2
    assert call("flush", source.cloudpath, "--all")[0] == 2


def test_verify_removes_what_is_damaged(source, call, tmp_path):
    call("prefetch", source.cloudpath)
    assert call("verify")[0] == 0
    path = next(Path(tmp_path / "cache").rglob("32-64_0-32_0-32"))
    state = path.stat()
    path.write_bytes(b"x" * 32**3)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    code, told = call("verify", source.cloudpath)
    assert code == 1
    assert "1_1_1/32-64_0-32_0-32" in told.out
    assert not path.exists()
    assert call("verify")[1].out == "0 damaged\n"


def test_a_directory_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(["cache", "du", "--cache", str(tmp_path / "file" / "cache")]) == 1
    assert "cannot be used" in capsys.readouterr().err
