"""What differs between jobs is told, and nothing else."""

from __future__ import annotations

import json

import pytest

from volumekit.ops.changes import SHOWN, changed

SCALE = {"key": "4_4_40", "resolution": [4, 4, 40], "size": [100, 100, 10]}


def job(*scales, **other):
    return {"mips": 1, **other, "metadata": {"info": json.dumps({"type": "image", "scales": list(scales)}, indent=1)}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (job(SCALE), job(SCALE), []),
        (job(SCALE), job(SCALE, mips=2), ["mips was 1, now 2"]),
        (job(SCALE), job(SCALE, compress="gzip"), ["compress was not given, now 'gzip'"]),
        (job(SCALE), job({**SCALE, "key": "a"}), ["info scales[0] key was '4_4_40', now 'a'"]),
        (job(SCALE), job(SCALE, {**SCALE, "key": "a"}), ["info scales were 1, now 2"]),
        (
            job(SCALE, SCALE),
            job({**SCALE, "size": [1, 1, 1]}, {**SCALE, "size": [2, 2, 2]}),
            ["info scales[0] size was [100, 100, 10], now [1, 1, 1]"],
        ),
        ({"metadata": {"a": "no JSON"}}, {"metadata": {"a": "still none"}}, ["a was 'no JSON', now 'still none'"]),
        (job(SCALE), {"mips": 1}, [f"info was {json.loads(job(SCALE)['metadata']['info'])!r}, now not given"]),
    ],
)
def test_what_differs_and_no_more(before, now, expected):
    assert changed(before, now) == expected


def test_the_source_is_told_in_words():
    assert "the source has changed" in changed({"state": "1"}, {"state": "2"})[0]


def test_long_lists_and_values_are_cut():
    before, now = ({f"n{i}": value for i in range(9)} for value in (1, "x" * 1000))
    told = changed(before, now)
    assert told[SHOWN:] == ["and 3 more"]
    assert max(map(len, told)) < 250
