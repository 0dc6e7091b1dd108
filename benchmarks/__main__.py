"""``python -m benchmarks``: volumekit beside its peers, in one run on the same data."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    cases_arrays,
    cases_cache,
    cases_encodings,
    cases_kernels,
    cases_labels,
    cases_pipeline,
    cases_points,
    cases_process,
    cases_read,
    cases_remote,
    cases_serve,
    cases_shards,
    cases_view,
    cases_write,
    cases_zarr,
)
from benchmarks.data import FULL, QUICK, Data
from benchmarks.harness import Case, measure
from benchmarks.table import circumstances, header, rows, to_json

FAMILIES = (
    cases_read,
    cases_write,
    cases_points,
    cases_process,
    cases_arrays,
    cases_zarr,
    cases_cache,
    cases_remote,
    cases_encodings,
    cases_labels,
    cases_shards,
    cases_kernels,
    cases_serve,
    cases_view,
    cases_pipeline,
)


def all_cases() -> list[Case]:
    """Return every case."""
    return [case for family in FAMILIES for case in family.cases()]


def chosen(only: Sequence[str]) -> list[Case]:
    """Return the cases whose name holds any of these words, all without words."""
    return [case for case in all_cases() if not only or any(word in case.name for word in only)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 if no case has such a name."""
    options = _options(arguments)
    cases = chosen(options.only)
    if options.list or not cases:
        names = "\n".join(case.name for case in all_cases())
        print(names if cases else f"no case is called like that; there are:\n{names}", flush=True)
        return 0 if cases else 2
    about = circumstances()
    print(*header(about), sep="\n", flush=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="volumekit-benchmarks-", dir=options.folder) as folder:
        extent = QUICK if options.quick else FULL
        data = Data(Path(folder), replace(extent, stack=tuple(options.stack or extent.stack)))
        for case in cases:
            results.append(measure(case, data))
            print(*rows(results[-1]), sep="\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(to_json(results, about), indent=1))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer rounds")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose name holds this")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--stack", nargs=3, type=int, metavar="N", help="size of the stack of slices, x y z")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the data goes; default: the temporary folder")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
