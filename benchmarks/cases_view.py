"""How long one waits for the first picture after ``volumekit view``; only where a headless Chromium is installed."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bars import at_most_itself
from benchmarks.cases_process import everything_importable
from benchmarks.data import CSEG, RAW, Data, Layout
from benchmarks.harness import Case, Contest
from benchmarks.ours import OURS
from volumekit.view.browser import find_browser

PROGRAM = "from volumekit.cli.main import main; main()"


def cases() -> Iterator[Case]:
    """Yield views of an image, and of labels over it."""
    if find_browser() is not None:
        yield Case("view, first picture, image", functools.partial(first_picture, (RAW,)))
        yield Case("view, first picture, image and labels", functools.partial(first_picture, (RAW, CSEG)))


def first_picture(layouts: tuple[Layout, ...], data: Data) -> Contest:
    """Start the command and its browser anew; wait until every visible chunk is drawn, in four panels."""
    paths = [data.dataset(layout) for layout in layouts]

    def sample(_: int) -> float:
        return _seconds(paths, data.empty() / "picture.png")

    return Contest({OURS: sample}, lambda: None, (at_most_itself(6.0, "6 s"),))


def _seconds(paths: list[Path], picture: Path) -> float:
    command = [sys.executable, "-c", PROGRAM, "view", *map(str, paths), "--screenshot", str(picture)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=everything_importable()) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        taken = time.perf_counter() - start
    assert told == f"{picture}\n", "no picture"
    assert np.asarray(Image.open(picture).convert("L"), float).std() > 10, "an empty picture"
    return taken
