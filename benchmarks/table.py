"""Results as a table and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.bars import Bar
from benchmarks.harness import Result
from benchmarks.ours import INSTALL, OURS
from benchmarks.peers import available
from volumekit import __version__

COLUMNS = "{:<39} {:<13} {:>9} {:>9} {:>9} {:>9} {:>9}  {:<24} {}"
HEAD = COLUMNS.format("case", "program", "median", "minimum", "ours/it", "it/ours", "by min.", "bar", "met").rstrip()
MET = {True: "yes", False: "NO", None: "not measured"}


def circumstances() -> dict[str, Any]:
    """Return when, where and with what this runs."""
    versions = {"python": platform.python_version(), "numpy": version("numpy"), "volumekit": __version__}
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load": list(os.getloadavg()),
        "versions": versions | available(),
    }


def header(about: dict[str, Any]) -> Iterator[str]:
    """Yield the lines before the table."""
    known = {name: number for name, number in about["versions"].items() if number}
    yield f"{about['date']}, {about['machine']}, load {about['load'][0]:.1f}"
    yield ", ".join(f"{name} {number}" for name, number in known.items())
    for name, number in about["versions"].items():
        if number is None:
            yield f"{name}: not installed, {INSTALL}"
    yield ""
    yield HEAD


def rows(result: Result) -> Iterator[str]:
    """Yield a line per contestant, volumekit first."""
    for name in result.samples:
        title = result.name if name == OURS else ""
        bars = [bar for bar in result.bars if bar.peer == name]
        told = (" and ".join(bar.text for bar in bars), " and ".join(_met(result, bar) for bar in bars))
        yield COLUMNS.format(title, name, *_numbers(result, name), *told).rstrip()


def _numbers(result: Result, name: str) -> list[str]:
    medians, minima = result.medians, result.minima
    if name not in medians:
        return ["absent", *[""] * 4]
    shown = [_value(medians[name], result.unit), _value(minima[name], result.unit)]
    if name == OURS:
        return [*shown, "", "", ""]
    ratios = medians[OURS] / medians[name], medians[name] / medians[OURS], minima[OURS] / minima[name]
    return [*shown, *(f"{ratio:.2f}" for ratio in ratios)]


def _met(result: Result, bar: Bar) -> str:
    """Tell whether a bar is met; by the minima as well where they disagree, as on a busy machine."""
    met, least = bar.verdict(result.medians), bar.verdict(result.minima)
    return MET[met] if met == least else f"{MET[met]} (by minima {MET[least]})"


def _value(value: float, unit: str) -> str:
    if unit != "ms":
        return f"{value:.3f}x"
    return f"{value * 1e3:.3g} ms" if value < 0.9995 else f"{value * 1e3:.0f} ms"


def to_json(results: Sequence[Result], about: dict[str, Any]) -> dict[str, Any]:
    """Return everything as plain values; times in seconds."""
    return about | {"results": [_plain(result) for result in results]}


def _plain(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "unit": "s" if result.unit == "ms" else result.unit,
        "medians": result.medians,
        "minima": result.minima,
        "absent": [name for name, taken in result.samples.items() if not taken],
        "bars": [{"bar": bar.text, "against": bar.peer, "met": bar.verdict(result.medians)} for bar in result.bars],
        "samples": result.samples,
    }
