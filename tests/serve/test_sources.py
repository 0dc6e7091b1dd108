"""What is served under which name, and what a sources file may say."""

import json

import numpy as np
import pytest

from volumekit import Volume
from volumekit.errors import OptionError
from volumekit.serve.app import app_from_file, create_app
from volumekit.serve.settings import Settings
from volumekit.serve.sources import Source, distinct, read_sources


@pytest.fixture
def brain(tmp_path):
    array = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    Volume.from_numpy(array, tmp_path / "brain", chunk_size=(4, 4, 4))
    return tmp_path / "brain"


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("data/brain", "brain"),
        ("data/brain/", "brain"),
        ("data/brain.zarr", "brain"),
        ("data/.zarr", ".zarr"),
        ("s3://bucket/some/where", "where"),
        ("precomputed://https://example.org/a/seg", "seg"),
        ("gs://bucket/image|zarr3:", "image"),
    ],
)
def test_names(place, name):
    assert Source.of(place).name == name


def test_a_volume_is_a_source(brain):
    volume = Volume(brain)
    source = Source.of(volume)
    assert source.name == "brain"
    assert source.open() is volume


@pytest.mark.parametrize("places", [("a/x", "b/x"), ("a/x", "b/x.zarr"), ("a/x", "a/x")])
def test_two_of_the_same_name(places):
    with pytest.raises(OptionError, match="both be served as 'x'"):
        distinct(places)


def test_a_name_that_is_the_others_zarr():
    with pytest.raises(OptionError, match="both be served"):
        distinct([Source("x", "a"), Source("x.zarr", "b")])
    with pytest.raises(OptionError, match="both be served"):
        distinct([Source("x.zarr", "b"), Source("x", "a")])


@pytest.mark.parametrize("name", ["", "-", "-/a", "~x", "a//b", "/a", "a/", "..", "a/../b", "a?b", "a\nb", "a\\b", "."])
def test_names_that_cannot_be(name):
    with pytest.raises(OptionError, match="cannot be the name"):
        Source(name, "place")


def test_the_file_of_precomputed_tif(tmp_path, brain):
    rows = [{"name": "group/one", "directory": "brain", "format": "raw"}, {"name": "two", "directory": str(brain)}]
    sources, settings = read_sources(write(tmp_path / "sources.json", rows))
    assert [(source.name, source.place, source.format) for source in sources] == [
        ("group/one", str(brain), "raw"),
        ("two", str(brain), None),
    ]
    assert settings == {}
    assert [source.open().shape for source in sources] == [(4, 5, 6, 1)] * 2


def test_a_member_that_is_null(tmp_path):
    row = {"name": "a", "directory": None, "url": "s3://bucket/a", "format": None}
    ((source,), _) = read_sources(write(tmp_path / "sources.json", [row]))
    assert source == Source("a", "s3://bucket/a")


def test_json_and_toml_with_settings(tmp_path, brain):
    as_json = {"prefix": "/data", "cors": ["*"], "sources": [{"name": "a", "url": f"file://{brain}"}]}
    as_toml = f"""
        prefix = "/data"
        cors = ["*"]
        [[source]]
        name = "a"
        url = "file://{brain}"
        """
    found = [
        read_sources(write(tmp_path / "s.json", as_json)),
        read_sources(write(tmp_path / "s.toml", as_toml)),
    ]
    assert found[0] == found[1]
    app = app_from_file(tmp_path / "s.toml", token="secret")
    assert app.state.site.settings.prefix == "/data"
    assert app.state.site.settings.token == "secret"
    assert list(app.state.site.catalog.datasets) == ["a"]


def test_options_of_a_source(tmp_path):
    row = {"name": "a", "url": "s3://b/c", "at": {"t": 3}, "storage_options": {"anonymous": True}}
    ((source,), _) = read_sources(write(tmp_path / "s.json", [row]))
    assert source.at == {"t": 3}
    assert source.storage_options == {"anonymous": True}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("[" * 100000, "cannot be read"),
        ("3", "neither a list nor an object"),
        ([3], "no list of objects"),
        ({"sources": {}}, "no list of objects"),
        ([{"name": "a"}], "needs a name"),
        ([{"directory": "a"}], "needs a name"),
        ([{"name": 3, "directory": "a"}], "needs a name"),
        ([{"name": "a", "directory": "a", "url": "b"}], "needs a name"),
        ([{"name": "a", "directory": "a", "colour": "red"}], "no member 'colour'"),
        ([{"name": "a", "directory": "a", "format": 3}], "format is no text"),
        ([{"name": "a", "directory": "a", "at": 3}], "at is no object"),
        ([{"name": "a", "directory": "x"}, {"name": "a", "directory": "y"}], "both be served as 'a'"),
    ],
)
def test_files_that_are_wrong(tmp_path, content, told):
    with pytest.raises(OptionError, match=told):
        read_sources(write(tmp_path / "sources.json", content))
    with pytest.raises(OptionError, match="cannot be read"):
        read_sources(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (Source("mine", "x", "hologram"), "source 'mine': this version cannot read the format 'hologram'"),
        (Source("mine", "does/not/exist"), "source 'mine': no dataset at"),
        (Source("mine", "x", storage_options={"filesystem": None}, at={"t": 1.5}), "source 'mine': at"),
        (Source("mine", "ftp-x://y/z"), "source 'mine': no storage for ftp-x"),
    ],
)
def test_sources_that_cannot_be_opened(source, told):
    with pytest.raises(OptionError, match=told):
        create_app([source])


def test_a_redirect_is_not_followed_unasked(tmp_path, brain):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "info", {**Volume(brain).info, "redirect": f"file://{brain}"})
    with pytest.raises(OptionError, match="redirects to"):
        create_app([tmp_path / "elsewhere"])


@pytest.mark.parametrize(
    "given",
    [
        {"prefix": "data"},
        {"prefix": "/data/"},
        {"prefix": "/a b"},
        {"token": "a/b"},
        {"token": 3},
        {"cors": "example.org"},
        {"cors": [3]},
        {"decodes": 0},
        {"decodes": "many"},
        {"decodes": True},
        {"colour": "red"},
    ],
)
def test_settings_that_cannot_be(given):
    with pytest.raises(OptionError):
        Settings.of(given)


def test_where_a_token_is_needed():
    assert Settings().for_address("127.0.0.1").token is None
    assert "localhost" in Settings().for_address("localhost").hosts
    made = Settings().for_address("0.0.0.0").token
    assert len(made) > 16
    assert made != Settings().for_address("0.0.0.0").token
    assert Settings(token="mine").for_address("0.0.0.0").token == "mine"
