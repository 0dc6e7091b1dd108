"""The guides show the code that the tests run, and nothing else."""

import importlib
import inspect
import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import numpy as np

from tests.formats.toy.conftest import PACKAGE
from tests.formats.toy.test_toy import TestToy as ToyConformance
from volumekit.codecs import CODECS, get_codec
from volumekit.model.level import CodecSpec

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def entry_points(page: str) -> dict:
    (toml,) = blocks(page, "toml")
    return tomllib.loads(toml)["project"]["entry-points"]


def test_the_format_guide_shows_the_toy_and_its_tests():
    code, tests = blocks("adding-a-format.md", "python")
    assert code == (PACKAGE / "toy.py").read_text()
    assert tests.rstrip() == inspect.getsource(ToyConformance).rstrip()
    points = ConfigParser()
    points.read(PACKAGE / "toy-0.dist-info" / "entry_points.txt")
    assert entry_points("adding-a-format.md") == {name: dict(points[name]) for name in points.sections()}


def test_the_codec_guide_runs(monkeypatch, tmp_path):
    code, tests = blocks("adding-a-codec.md", "python")
    (tmp_path / "zlib_codec.py").write_text(code)
    (tmp_path / "zlib_codec_conformance.py").write_text(tests)
    (tmp_path / "zlib_codec-0.dist-info").mkdir()
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in rows.items())
        for group, rows in entry_points("adding-a-codec.md").items()
    ]
    (tmp_path / "zlib_codec-0.dist-info" / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    assert "zlib" in CODECS
    codec = get_codec(CodecSpec("zlib", {"zlib_level": 1}))
    chunk = np.arange(24, dtype="u2").reshape(2, 3, 4, 1)
    np.testing.assert_array_equal(codec.decode(codec.encode(chunk), chunk.shape, chunk.dtype), chunk)
    kit = importlib.import_module("zlib_codec_conformance").TestZlib
    ran = [getattr(kit(), name)() for name in dir(kit) if name.startswith("test_")]
    assert len(ran) > 10
