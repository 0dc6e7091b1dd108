"""A sample of the campaign of many connections."""

from benchmarks.campaigns import many_connections


def test_many_connections():
    result = many_connections.run(60, seconds=1)
    assert result.failures == []
    assert result.requests >= 60


def test_growth_is_what_comes_after_the_first_third():
    assert many_connections.Result(memory=[10, 50, 30, 40, 60, 20]).growth == 10
    assert many_connections.Result(memory=[]).growth == 0
