"""Processes that share a cache directory, some of them killed: a quick sample of the campaign."""

from __future__ import annotations

from benchmarks.campaigns import cache_kills


def test_readers_that_are_killed_harm_nobody(tmp_path):
    cache_kills.create(tmp_path)
    outcome = cache_kills.run(tmp_path, seconds=2, readers=3, every=0.5)
    assert outcome.wrong == 0
    assert outcome.reads > 0
    assert outcome.kills > 0
    assert outcome.most <= cache_kills.BUDGET + 3 * cache_kills.CHUNK_BYTES
