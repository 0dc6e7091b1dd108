"""What is decoded where requests are taken, and what is left to threads."""

import pytest

from volumekit.serve import pace
from volumekit.serve.pace import HANDING, REST, Pace


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0
        perf_counter = thread_time = staticmethod(lambda: Clock.now)

    monkeypatch.setattr(pace, "time", Clock)
    return Clock


def test_nothing_is_known_at_first(clock):
    assert not Pace().quick()


def takes(clock, seconds):
    def work(result):
        clock.now += seconds
        return result

    return work


def test_short_work_is_done_at_once(clock):
    found = Pace()
    assert found.noted(takes(clock, HANDING / 2), 5) == 5
    assert found.quick()
    assert found.at_once(takes(clock, HANDING / 2), 6) == 6
    assert found.quick()


def test_long_work_stays_in_threads(clock):
    found = Pace()
    for _ in range(20):
        found.noted(takes(clock, HANDING * 2), None)
        assert not found.quick()


def test_work_that_had_to_wait_goes_to_threads_for_a_while(clock):
    found = Pace()
    found.noted(takes(clock, HANDING / 2), None)
    found.at_once(takes(clock, HANDING * 3), None)
    assert [found.quick() for _ in range(REST + 1)] == [False] * REST + [True]


def test_work_that_becomes_longer_goes_to_threads(clock):
    found = Pace()
    found.noted(takes(clock, HANDING / 2), None)
    found.at_once(takes(clock, HANDING * 3), None)
    for _ in range(REST):
        assert not found.quick()
        found.noted(takes(clock, HANDING * 3), None)
    assert not found.quick()


def test_errors_pass(clock):
    with pytest.raises(ZeroDivisionError):
        Pace().noted(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Pace().at_once(lambda: 1 / 0)
