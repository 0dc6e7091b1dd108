"""Beside precomputed-tif's own servers: their sources file, and the answers they gave, as recorded."""

import hashlib
import json
import re
import shutil

import pytest

from tests.serve.client import get
from volumekit import Volume
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


@pytest.mark.parametrize(
    ("name", "found"),
    [("tiff", "0-16_0-16_0-8.tiff"), ("zarr", ".zarray"), ("blockfs", "precomputed.blockfs")],
)
@pytest.mark.parametrize("told", ["raw", None])
def test_formats_that_nobody_named(golden, name, found, told):
    """Their info files are precomputed's: the server would start, and every chunk would be missing."""
    place = golden / "precomputed_tif/excerpts" / name
    wrong = f"source 'mine': the info file of .* says .* 1_1_1/{re.escape(found)} is precomputed-tif's format '{name}'"
    with pytest.raises(OptionError, match=wrong):
        create_app([Source("mine", str(place), told)])
    with pytest.raises(OptionError, match=f"source '{name}': the info file"):
        create_app([Volume(place)])


def test_chunks_beside_files_of_another_format(running, golden, tmp_path):
    """Where chunks are what the info file says, other files do no harm."""
    shutil.copytree(golden / "precomputed_tif/excerpts/tiff", tmp_path / "mine")
    chunk = bytes(range(256)) * 16
    (tmp_path / "mine/1_1_1/0-16_0-16_0-8").write_bytes(chunk)
    assert get(running(tmp_path / "mine"), "/mine/1_1_1/0-16_0-16_0-8").body == chunk
