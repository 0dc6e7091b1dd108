"""Beside precomputed-tif's own servers: their sources file, and the answers they gave, as recorded."""

import hashlib
import json

import pytest

from tests.serve.client import get
from volumekit.errors import OptionError
from volumekit.formats import ALIASES, FORMATS
from volumekit.serve.app import create_app
from volumekit.serve.sources import SPELLINGS, Source

KEYS = {"ngff": {"1_1_1": "0", "2_2_2": "1"}}
"""What levels are called where they are stored, by what the other server calls them."""


@pytest.fixture
def recorded(golden):
    return json.loads((golden / "precomputed_tif/http_answers.json").read_text())


def answers(recorded, source):
    found = [
        answer for answer in recorded["answers"]["wsgi (sources.json)"] if answer["path"].startswith(f"/{source}/")
    ]
    assert len(found) > 5
    return found


def test_chunks_are_the_same_bytes(running, golden, recorded):
    (row,) = (row for row in recorded["sources"] if row["name"] == "ngff")
    server = running(Source(row["name"], str(golden / row["directory"]), row["format"]))
    compared = 0
    for answer in answers(recorded, "ngff"):
        _, name, *rest = answer["path"].split("/")
        rest[0] = KEYS[name].get(rest[0], rest[0])
        reply = get(server, "/".join(["", name, *rest]))
        if rest[-1] == "info" and answer["status"] == 200:
            assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
            assert "mesh" not in json.loads(reply.body)
            continue
        assert reply.status == (200 if answer["status"] == 200 else 404), answer["path"]
        if reply.status == 200:
            assert hashlib.sha256(reply.body).hexdigest() == answer["body_sha256"], answer["path"]
            compared += 1
    assert compared == 3


def test_formats_that_cannot_be_read_yet(golden, recorded):
    for row in recorded["sources"]:
        source = Source(row["name"], str(golden / row["directory"]), row["format"])
        if row["format"] in {*FORMATS, *ALIASES, *SPELLINGS}:
            continue
        with pytest.raises(OptionError, match=f"source '{row['name']}': this version cannot read .*'{row['format']}'"):
            create_app([source])
