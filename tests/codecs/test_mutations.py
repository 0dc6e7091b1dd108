"""A small sample of the campaign in benchmarks/campaigns/codec_mutations.py, and what watches over campaigns."""

import numpy as np
import pytest

from benchmarks.campaigns import codec_mutations
from benchmarks.campaigns.codec_mutations import Damaged, mutate
from benchmarks.campaigns.mutants import supervise
from volumekit.codecs import CODECS
from volumekit.codecs.compression import SUFFIXES
from volumekit.errors import CorruptChunkError

NAMES = [subject.name for subject in codec_mutations.subjects()]


def test_damaged_bytes_are_refused_or_decode():
    results = supervise(codec_mutations.__name__, [NAMES], count=12, seed=20)
    for name, result in results.items():
        assert not result.failures, name
        assert result.tried == 12
        assert result.outcomes["refused"] > 0, name


def test_every_codec_and_compression_is_tried():
    assert {name.partition(" ")[0] for name in NAMES} == set(CODECS) | set(SUFFIXES)
    assert len(set(NAMES)) == len(NAMES)


def test_a_seed_makes_the_same_mutants():
    data = bytes(range(200))
    first, again, other = ([mutate(data, np.random.default_rng(s)) for _ in range(9)] for s in (1, 1, 2))
    assert first == again != other


def test_crashes_hangs_and_absurd_allocations_are_told():
    names = ["crash", "hang", "memory", "error", "good"]
    results = supervise(f"{__package__}.broken_subjects".lstrip("."), [names], count=4, seed=5, seconds=2)
    told = {name: result.failures for name, result in results.items()}
    assert [len(failures) for failures in told.values()] == [1, 1, 1, 1, 0]
    assert told["crash"][0].startswith("mutant 2: the process ended, -6")
    assert told["hang"][0].startswith("mutant 2: the process ended, 1: Timeout")
    assert told["memory"][0].startswith("mutant 2: took 2")  # 256 MB, and what the process takes meanwhile
    assert told["error"][0] == "mutant 2: IndexError: out of range"
    assert all(result.tried == 4 for result in results.values())


@pytest.mark.parametrize(
    ("answers", "failure"),
    [((b"1", b"2"), "what happened to be in memory"), ((b"2", b"2"), "in spite of its checksum")],
)
def test_wrong_answers_are_failures(answers, failure):
    given = iter((b"1", *answers))
    with (
        Damaged("crackle", lambda: b"good bytes", lambda data: next(given)).ready() as attempt,
        pytest.raises(AssertionError, match=failure),
    ):
        attempt(np.random.default_rng(0))


def test_other_errors_are_no_refusal():
    errors = iter((None, CorruptChunkError("damaged"), IndexError("oops")))

    def read(data):
        if error := next(errors):
            raise error
        return b""

    with Damaged("raw", lambda: b"good bytes", read).ready() as attempt:
        assert attempt(np.random.default_rng(0)) == "refused"
        with pytest.raises(IndexError, match="oops"):
            attempt(np.random.default_rng(0))
