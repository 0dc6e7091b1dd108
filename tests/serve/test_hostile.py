"""A sample of the campaign of hostile requests; and that it would notice."""

from benchmarks.campaigns import hostile_requests
from volumekit.serve.objects import Objects


def test_hostile_requests():
    result = hostile_requests.run(400, seed=3)
    assert result.failures == []
    assert {"200", "206", "304", "400", "404", "405"} <= set(result.answers)


def test_the_same_seed_makes_the_same_requests():
    made = [
        [hostile_requests.request(rng) for _ in range(50)] for rng in map(hostile_requests.random.Random, (1, 1, 2))
    ]
    assert made[0] == made[1] != made[2]


def test_links_that_were_followed_would_be_noticed(monkeypatch):
    monkeypatch.setattr("volumekit.storage.confined._place", lambda _file, path: path)
    data = b"GET /brain/link HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    monkeypatch.setattr(hostile_requests, "request", lambda _: data)
    (failure,) = hostile_requests.run(1, seed=0).failures
    assert "200" in failure


def test_failures_would_be_noticed(monkeypatch):
    async def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(Objects, "answer", fail)
    data = b"GET /brain/mesh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    monkeypatch.setattr(hostile_requests, "request", lambda _: data)
    failures = hostile_requests.run(1, seed=0).failures
    assert len(failures) == 2
    assert "500" in failures[0]
    assert "answers no more" in failures[1]
