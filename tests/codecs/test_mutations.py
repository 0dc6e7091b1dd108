"""A small sample of the campaign in benchmarks/campaigns/codec_mutations.py."""

import numpy as np
import pytest

from benchmarks.campaigns import codec_mutations
from benchmarks.campaigns.codec_mutations import Subject, mutate, run, subjects
from volumekit.codecs import CODECS
from volumekit.codecs.compression import SUFFIXES


def test_damaged_bytes_are_refused_or_decode():
    for name, result in run(count=40, seed=20).items():
        assert not result.failures, name
        assert result.decoded + result.refused == 40
        assert result.refused > 0, name


def test_every_codec_and_compression_is_tried():
    names = {subject.name.partition(" ")[0] for subject in subjects()}
    assert names >= set(SUFFIXES) | {"raw", "jpeg", "png", "compressed_segmentation"}
    assert names - set(SUFFIXES) <= set(CODECS)


def test_a_seed_makes_the_same_mutants():
    data = bytes(range(200))
    first, again, other = ([mutate(data, np.random.default_rng(s)) for _ in range(9)] for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (IndexError("out of range"), "IndexError: out of range"),
        (AssertionError("shape (1,)"), "shape"),
        (None, "took"),
    ],
)
def test_other_errors_and_hangs_are_failures(monkeypatch, error, failure):
    def read(data):
        if error is not None and data != b"good":
            raise error

    monkeypatch.setattr(codec_mutations, "subjects", lambda: [Subject("x", b"good", read)])
    monkeypatch.setattr(codec_mutations, "SECONDS", 5.0 if error else -1.0)
    assert any(failure in line for line in run(count=5, seed=0)["x"].failures)
