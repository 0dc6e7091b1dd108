"""The doctor finds out what is so, whatever a storage says of itself, and leaves nothing behind."""

import json
import sys
import threading

import numpy as np
import pytest

from tests.storage.plainfs import PlainFileSystem
from volumekit import Volume
from volumekit.cli.main import run
from volumekit.errors import InvalidURLError, MissingExtraError, UnknownProtocolError
from volumekit.model.url import parse_url
from volumekit.ops.doctor import QUESTIONS, examine
from volumekit.ops.probes import NAME, WRITERS
from volumekit.storage import open_store
from volumekit.storage.kvstore import KvStore


def answers(found):
    return {question: finding.holds for question, finding in found.findings.items()}


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("place", ["file", "memory"])
def test_a_place_where_all_is_well(place, tmp_path):
    url = tmp_path / "a b" / "new" if place == "file" else f"memory:/{tmp_path}"
    found = examine(url)
    assert answers(found) == dict.fromkeys(QUESTIONS, True)
    assert found.exit_code == 0
    assert found.advice == []
    assert found.format is None
    assert "no dataset" in found.no_dataset
    assert 0 < found.latency < 5
    assert found.read_speed > 0
    assert found.write_speed > 0
    assert files(tmp_path) == []
    assert list(open_store(parse_url(url)).list()) == []


def test_a_dataset_is_found_and_left_alone(tmp_path):
    Volume.from_numpy(np.ones((40, 30, 20), np.uint8), tmp_path / "v", chunk_size=(16, 16, 16), max_mip=1)
    before = files(tmp_path)
    found = examine(tmp_path / "v")
    assert (found.format, found.no_dataset, found.damaged, found.exit_code) == ("precomputed", None, False, 0)
    assert [level["size"] for level in found.levels] == [[40, 30, 20], [20, 15, 20]]
    assert files(tmp_path) == before


def test_reading_only_writes_nothing(tmp_path, monkeypatch):
    Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "v")
    monkeypatch.setattr(KvStore, "commit", lambda *_: pytest.fail("written"))
    found = examine(tmp_path / "v", read_only=True)
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), "writable": None, "conditional": None}
    assert found.exit_code == 0
    assert found.latency is not None


@pytest.mark.parametrize("damage", [b"{", b'{"scales": 5}', b"\xff"])
def test_damaged_metadata(damage, tmp_path):
    (tmp_path / "info").write_bytes(damage)
    found = examine(tmp_path)
    assert found.damaged
    assert found.exit_code == 1
    assert answers(found)["readable"]
    assert any("metadata" in text for text in found.advice)
    assert files(tmp_path) == ["info"]


def test_a_storage_that_ignores_conditions(tmp_path, monkeypatch):
    """As some look-alikes of S3 do."""
    write = KvStore._write
    monkeypatch.setattr(KvStore, "_write", lambda self, key, value, if_match: write(self, key, value, None))
    found = examine(f"memory:/{tmp_path}")
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), "conditional": False}
    assert "replaced a newer one" in found.findings["conditional"].text
    assert found.exit_code == 3
    assert any("one process" in text for text in found.advice)
    assert list(open_store(parse_url(f"memory:/{tmp_path}")).list()) == []


def test_a_storage_that_only_looks_before_it_writes(tmp_path, monkeypatch):
    """Conditions that hold one after the other, but not when several write at once."""
    write = KvStore._write

    def careless(self, key, value, if_match):
        found = self.read(key, 0, 0).result()
        stamp = found.stamp if found else b"\x02"
        holds = if_match in (None, stamp)
        barrier.wait() if value and value.startswith(b"writer") else None
        return write(self, key, value, None if holds else if_match)

    barrier = threading.Barrier(WRITERS, timeout=10)
    monkeypatch.setattr(KvStore, "_write", careless)
    found = examine(f"memory:/{tmp_path}")
    assert found.findings["conditional"].holds is False
    assert f"{WRITERS} won" in found.findings["conditional"].text
    assert list(open_store(parse_url(f"memory:/{tmp_path}")).list()) == []


class OddFileSystem(PlainFileSystem):
    """Refuses what it is told to refuse, and gives odd parts of files."""

    protocol = "odd"
    refused = ()
    shifted = 0

    def _refuse(self, what):
        if what in self.refused:
            raise PermissionError(f"may not {what}")

    def ls(self, path, detail=True, **kwargs):
        self._refuse("read")
        return super().ls(path, detail, **kwargs)

    def find(self, path, **kwargs):
        self._refuse("list")
        return super().find(path, **kwargs)

    def pipe_file(self, path, value, **kwargs):
        self._refuse("write")
        super().pipe_file(path, value, **kwargs)

    def _rm(self, path):
        self._refuse("delete")
        super()._rm(path)

    def cat_file(self, path, start=None, end=None, **kwargs):
        if start is not None:
            start = max(0, start - self.shifted)
        return super().cat_file(path, start, end, **kwargs)


def odd(*refused, shifted=0):
    fs = OddFileSystem(skip_instance_cache=True)
    fs.refused, fs.shifted = refused, shifted
    return fs, examine("odd://box/volume", storage_options={"filesystem": fs})


def test_a_filesystem_without_conditions():
    fs, found = odd()
    assert answers(found) == {**dict.fromkeys(QUESTIONS, True), "conditional": False}
    assert found.exit_code == 3
    assert fs.files == {}


def test_what_may_not_be_written():
    fs, found = odd("write")
    assert answers(found) == {
        **dict.fromkeys(QUESTIONS, True), "writable": False, "conditional": None, "ranges": None,
    }  # fmt: skip
    assert "may not write" in found.findings["writable"].text
    assert (found.exit_code, found.left, fs.files) == (1, [], {})
    assert any("none can be made" in text for text in found.advice)


def test_what_may_not_be_read():
    fs, found = odd("read")
    assert answers(found) == {**dict.fromkeys(QUESTIONS), "reachable": True, "readable": False}
    assert found.exit_code == 1
    assert any("permission" in text for text in found.advice)
    assert fs.files == {}


def test_what_may_not_be_listed():
    _, found = odd("list")
    assert answers(found)["listable"] is False
    assert any("reports" in text for text in found.advice)


def test_what_may_not_be_deleted_is_named():
    fs, found = odd("delete")
    assert found.left
    assert sorted(found.left) == sorted(path.rpartition("/")[2] for path in fs.files)
    assert all(name.startswith(NAME) for name in found.left)
    assert found.exit_code == 1
    assert sum("remove" in text for text in found.advice) == len(found.left)


def test_ranges_that_are_not_honoured():
    _, found = odd(shifted=1)
    assert answers(found)["ranges"] is False
    assert any("sharded" in text for text in found.advice)


def test_nothing_answers():
    class Dead(PlainFileSystem):
        protocol = "dead"

        def info(self, path, **kwargs):
            raise ConnectionRefusedError(111, "Connection refused")

    found = examine("dead://host/a", storage_options={"filesystem": Dead()})
    assert answers(found) == {**dict.fromkeys(QUESTIONS), "reachable": False, "readable": False}
    assert "refused" in found.no_dataset
    assert found.exit_code == 1
    assert not found.damaged


def test_nothing_to_examine(monkeypatch):

    monkeypatch.setitem(sys.modules, "adlfs", None)
    for url, error in (
        ("s3://", InvalidURLError),
        ("memry://a", UnknownProtocolError),
        ("abfs://a/b", MissingExtraError),
    ):
        with pytest.raises(error):
            examine(url)


def test_the_command(tmp_path, capsys):
    Volume.from_numpy(np.ones((40, 30, 20), np.uint8), tmp_path / "v", chunk_size=(16, 16, 16))
    assert run(["doctor", str(tmp_path / "v")]) == 0
    shown = capsys.readouterr().out
    assert "conditional  yes" in shown
    assert "mip 0: 1_1_1, 40 x 30 x 20, raw" in shown
    assert run(["doctor", f"local://{tmp_path}/v", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["findings"]["conditional"]["holds"] is False
    assert told["exit_code"] == 3
    assert told["advice"]
    (tmp_path / "v/info").write_text("{")
    assert run(["doctor", str(tmp_path / "v"), "--read-only"]) == 1
    assert "advice: repair" in capsys.readouterr().out
    assert run(["doctor", "s3:/typo"]) == 2
    assert run(["doctor", "memry://a"]) == 1
