"""``volumekit serve``: a process of its own, told what to serve, ended by a signal."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.serve.client import get
from volumekit import Volume
from volumekit.cli.main import run


@pytest.fixture
def brain(tmp_path):
    Volume.from_numpy(np.full((8, 8, 8), 7, np.uint8), tmp_path / "brain", chunk_size=(8, 8, 8))
    return tmp_path / "brain"


@pytest.fixture
def started():
    """Return a function that starts ``volumekit serve``; it returns the process and what it printed."""
    processes = []

    def start(*arguments):
        program = "from volumekit.cli.main import main; main()"
        command = [sys.executable, "-c", program, "serve", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_until_it_is_told_to_end(started, brain, workers):
    process, base = started(brain, "--workers", workers)
    assert base.startswith("http://127.0.0.1:")
    source = process.stdout.readline().split()[0]
    assert source == f"precomputed://{base}brain"
    assert np.array_equal(Volume(source)[:], np.full((8, 8, 8, 1), 7))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 130)


def test_a_file_of_sources_and_options_that_go_before_it(started, brain, tmp_path):
    content = {"prefix": "/file", "token": "file", "sources": [{"name": "lab/mine", "directory": "brain"}]}
    (tmp_path / "sources.json").write_text(json.dumps(content))
    _, base = started("--sources", tmp_path / "sources.json", "--prefix", "/given", "--cors", "*")
    assert "/given/~file/" in base
    reply = get(base.rstrip("/"), "/lab/mine/info", headers={"Origin": "https://a.example"})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "*")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name what to serve"),
        (["nothing-there"], "source 'nothing-there'"),
        (["brain", "other/brain"], "both be served as 'brain'"),
        (["brain", "--token", "a/b"], "a token is made of"),
        (["brain", "--prefix", "x"], "prefix is 'x'"),
        (["--sources", "nothing.json"], "cannot be read"),
        (["brain", "--cors", "example.org"], "cors is"),
        (["brain", "--bind", "256.1.1.1"], "cannot listen at 256.1.1.1"),
    ],
)
def test_what_is_wrong_is_told(brain, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(brain.parent)
    assert run(["serve", "--port", "0", *arguments]) != 0
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken(started, brain, capsys):
    _, base = started(brain)
    port = base.rstrip("/").rpartition(":")[2]
    assert run(["serve", str(brain), "--port", port]) == 1
    assert "choose another --port" in capsys.readouterr().err
