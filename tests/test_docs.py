"""The README and the docs run: every block of Python, and every `volumekit` command."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

from volumekit.cli.main import run

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    "README.md",
    "docs/view.md",
    "docs/volume.md",
    "docs/arrays.md",
    "docs/cache.md",
    "docs/convert.md",
    "docs/doctor.md",
    "docs/pipelines.md",
    "docs/encodings.md",
    "docs/n5.md",
    "docs/serve.md",
    "docs/sharding.md",
    "docs/storage.md",
    "docs/zarr.md",
]


@pytest.fixture(autouse=True)
def figures_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a stack of images, large enough for the examples."""
    monkeypatch.chdir(tmp_path)
    slices = tmp_path / "slices"
    slices.mkdir()
    rng = np.random.default_rng(1)
    for z in range(32):
        tifffile.imwrite(slices / f"{z}.tif", rng.integers(0, 255, (512, 512), dtype=np.uint8))
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_page_runs(page: str, folder: Path) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text())
    assert blocks
    names: dict[str, object] = {"__name__": "docs"}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, page, "exec"), names)
        else:
            for line in text.splitlines():
                _command(line)


def _command(line: str) -> None:
    if not line.startswith("volumekit "):
        return
    assert run(shlex.split(line)[1:]) == 0, line


def test_every_page_is_tested_and_every_link_leads_somewhere() -> None:
    for page in ROOT.glob("**/*.md"):
        relative = page.relative_to(ROOT)
        if relative.parts[0].startswith(".") or relative.parts[0] in ("tests", "build"):
            continue
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (page.parent / target).exists(), f"{relative} links to {target}"


def test_ci_calls_the_readmes_test_command() -> None:
    command = next(line for line in (ROOT / "README.md").read_text().splitlines() if "python -m pytest" in line)
    assert command.startswith("python3 -m venv .venv && ")
    assert "python -m pytest' README.md" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
