"""The demo: a tour that really converts, reads and draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from volumekit import Volume
from volumekit.cli.main import run
from volumekit.errors import DatasetNotFoundError, OptionError
from volumekit.ops import demo


def test_own_images(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (12, 40, 50), dtype=np.uint8)
    (tmp_path / "mine").mkdir()
    for z, plane in enumerate(stack):
        tifffile.imwrite(tmp_path / "mine" / f"{z}.tif", plane)
    said: list[str] = []
    sheet = demo.run_demo(source=tmp_path / "mine", out=tmp_path / "out", mips=2, say=said.append, progress=False)
    volume = Volume(tmp_path / "out" / "image")
    assert np.array_equal(volume[..., 0], stack.transpose(2, 1, 0))
    assert len(volume.available_mips) == 3
    with Image.open(sheet) as opened:
        picture = np.asarray(opened)
    assert picture.ndim == 3
    assert len(np.unique(picture)) > 50, "a contact sheet shows something"
    assert any("mip 2" in line for line in said)
    assert any("1 of 1 chunks stored" in line for line in said)


def test_synthetic_tissue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SHAPE", (96, 80, 12))
    sheet = demo.run_demo(out=tmp_path / "out", mips=1, say=lambda line: None, progress=False)
    image, labels = Volume(tmp_path / "out" / "image"), Volume(tmp_path / "out" / "labels")
    assert image.shape == labels.shape == (96, 80, 12, 1)
    assert labels.layer_type == "segmentation"
    assert labels.encoding == "compressed_segmentation"
    assert set(np.unique(labels.download((), 1))) <= set(np.unique(labels[:])), "labels are never averaged"
    with Image.open(sheet) as picture:
        assert picture.size[0] > 900


def test_an_earlier_demo_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(OptionError, match="not empty"):
        demo.run_demo(out=tmp_path / "out")
    assert run(["demo", "--out", str(tmp_path / "out")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        demo.run_demo(source=tmp_path / "nowhere", out=tmp_path / "out", say=lambda line: None)
