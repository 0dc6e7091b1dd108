import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumekit.errors import InvalidURLError, UnknownProtocolError, VolumekitError
from volumekit.model.url import URL, closest, parse_url

FORMATS = {"precomputed", "zarr", "zarr2", "zarr3", "n5"}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("/data/a", "file:///data/a"),
        ("/data//a/../b/", "file:///data/b"),
        ("//data/a", "file:///data/a"),
        ("/", "file:///"),
        ("~/a", "file:///home/ada/a"),
        ("/a b%20c?d#e&f", "file:///a b%20c?d#e&f"),
        ("/größe/日本|語", "file:///größe/日本|語"),
        ("/a|b c:d", "file:///a|b c:d"),
        ("file:///a%20b/", "file:///a%20b"),
        ("file://~/a", "file:///home/ada/a"),
        ("FILE:///a", "file:///a"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket//", "s3://bucket"),
        ("S3://Bucket/a//b/../c d%20#?/", "s3://Bucket/a//b/../c d%20#?"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("s3://http://127.0.0.1:9000/bucket/a/", "s3://http://127.0.0.1:9000/bucket/a"),
        ("s3://https://s3.example.org/bucket", "s3://https://s3.example.org/bucket"),
        ("http://example.org", "http://example.org"),
        ("https://example.org:81/a/b/", "https://example.org:81/a/b"),
        ("https://example.org/a/?token=1&u=http://x", "https://example.org/a?token=1&u=http://x"),
        ("https://example.org/a?", "https://example.org/a?"),
        ("memory://", "memory://"),
        ("memory:///a/b/", "memory://a/b"),
        ("hdfs:///a/", "hdfs:///a"),
        ("abfs://box@account/a", "abfs://box@account/a"),
        ("zip://a/b/::s3://bucket/x.zip", "zip://a/b::s3://bucket/x.zip"),
        ("zip://::/data/../x.zip", "zip://::/x.zip"),
        ("ZIP://a::~/x.zip", "zip://a::/home/ada/x.zip"),
        ("tar://a::zip://b.tar::/x.zip", "tar://a::zip://b.tar::/x.zip"),
        ("precomputed://zip://a::/x.zip", "precomputed://zip://a::/x.zip"),
        ("zip://a::s3://bucket/x.zip|zarr3:sub", "zarr3://zip://a/sub::s3://bucket/x.zip"),
        ("s3://bucket/a::b", "s3://bucket/a::b"),
        ("precomputed://gs://bucket/a", "precomputed://gs://bucket/a"),
        ("Precomputed:///data/a", "precomputed://file:///data/a"),
        ("precomputed://~/a", "precomputed://file:///home/ada/a"),
        ("neuroglancer-precomputed://gs://bucket", "precomputed://gs://bucket"),
        ("zarr://memory://", "zarr://memory://"),
        ("zarr2:///a", "zarr2://file:///a"),
        ("n5://s3://http://localhost:1/b/a", "n5://s3://http://localhost:1/b/a"),
        ("gs://bucket/a|zarr3:", "zarr3://gs://bucket/a"),
        ("gs://bucket/a/|zarr3:sub/./x/../y/", "zarr3://gs://bucket/a/sub/y"),
        ("http://h/a/?q|neuroglancer-precomputed:", "precomputed://http://h/a?q"),
        ("/data/a|zarr2:", "zarr2://file:///data/a"),
        ("zarr3:///data/a|zarr3:", "zarr3://file:///data/a"),
    ],
)
def test_canonical_text(text, canonical):
    url = parse_url(text, FORMATS)
    assert str(url) == canonical
    assert parse_url(str(url), FORMATS) == url
    assert pickle.loads(pickle.dumps(url)) == url
    assert hash(parse_url(text, FORMATS)) == hash(url)


def test_parts():
    assert parse_url("s3://http://h:1/b/a|zarr3:", FORMATS) == URL("zarr3", "s3", "b/a", "http://h:1")
    assert parse_url("http://h/a?x=1", FORMATS) == URL(None, "http", "h/a", None, "x=1")
    assert parse_url("precomputed:///a b", FORMATS) == URL("precomputed", "file", "/a b")
    assert parse_url("precomputed://gs://b/c", FORMATS).kvpath == "gs://b/c"


@pytest.mark.parametrize("text", ["a", "./a", "x/../a", "file://a", "precomputed://a", "a/"])
def test_relative_paths_are_made_absolute(text, tmp_path):
    assert parse_url(text, FORMATS).path == f"{tmp_path}/a"


@pytest.mark.parametrize("text", ["C:\\data", "C:/data", "12:0", "a|b", "./s3:/x", "./x://y", "zarr//x", "%s", "."])
def test_odd_names_are_paths(text, tmp_path):
    url = parse_url(text, FORMATS)
    assert url.protocol == "file"
    assert url.format is None
    assert Path(url.path) == tmp_path.joinpath(text.removeprefix("./").replace("x://y", "x:/y"))


def test_path_objects_are_literal(tmp_path):
    assert parse_url(Path("a|b c%20"), FORMATS) == URL(None, "file", f"{tmp_path}/a|b c%20")
    assert parse_url(tmp_path, FORMATS).path == str(tmp_path)
    with pytest.raises(InvalidURLError, match="rename"):
        parse_url(Path("/a|zarr3:"), FORMATS)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "NUL"),
        ("\udcff", "not a URL"),
        (None, "not a URL"),
        (5, "not a URL"),
        ("s3://", "s3://bucket/path"),
        ("s3:///a", "s3://bucket/path"),
        ("s3://http://h:9000", "s3://bucket/path"),
        ("s3://http://h:9000//", "s3://bucket/path"),
        ("gs://s3://a", "gs://bucket/path"),
        ("http://", "http://server/path"),
        ("https:///a", "https://server/path"),
        ("http://http://a", "http://server/path"),
        ("http://h/a#type=mesh", "%23"),
        ("http:/x", "did you mean 'http://x'"),
        ("s3:bucket/x", "did you mean 's3://bucket/x'"),
        ("gs//bucket/x", "did you mean 'gs://bucket/x'"),
        ("file:/abs", "did you mean 'file:///abs'"),
        ("precomputed:/abs", "did you mean 'precomputed://abs'"),
        (" s3://b", "./ s3://b"),
        ("precomputed:gs://b", "protocol://path"),
        ("precomputed://", "empty"),
        ("precomputed://file://", "empty"),
        ("hdfs://", "names no place"),
        ("zip://::", "names no place"),
        ("zip://a::", "names no place"),
        ("precomputed://zarr://gs://b", "two formats"),
        ("precomputed://gs://b|zarr3:", "two formats"),
        ("gs://b|zarr3", "'gs://b|zarr3:'"),
        ("gs://b|zarr3:|zarr2:", "only one"),
        ("gs://b|zarr3:../x", "top"),
        (Path("s3://bucket/a"), "did you mean 's3://bucket/a'"),
    ],
)
def test_invalid(text, hint):
    with pytest.raises(InvalidURLError) as caught:
        parse_url(text, FORMATS)
    assert hint in str(caught.value)


@pytest.mark.parametrize("text", ["precomputd://gs://b/c", "gs://b/c|precomputd:"])
def test_unknown_format(text):
    with pytest.raises(UnknownProtocolError, match="did you mean 'precomputed'"):
        parse_url(text, FORMATS)


def test_a_directory_that_is_gone(tmp_path, monkeypatch):
    def gone():
        raise FileNotFoundError("gone")

    monkeypatch.setattr("os.getcwd", gone)
    with pytest.raises(InvalidURLError, match="gone"):
        parse_url("a")


def test_without_formats_names_are_protocols():
    assert parse_url("precomputed:///a").protocol == "precomputed"


def test_base_and_name():
    url = parse_url("precomputed://gs://b/c/d", FORMATS)
    assert (url.name, str(url.base), str(url.base.base)) == (
        "d",
        "precomputed://gs://b/c",
        "precomputed://gs://b",
    )
    assert url.base.base.base == url.base.base
    assert str(parse_url("/a").base) == "file:///"
    assert parse_url("/").base == parse_url("/")
    assert str(parse_url("memory://a").base) == "memory://"
    assert parse_url("memory://").base == parse_url("memory://")
    assert str(parse_url("http://h/a?q").base) == "http://h?q"


@pytest.mark.parametrize(
    ("text", "sub", "joined"),
    [
        ("/a", "b/c", "file:///a/b/c"),
        ("/a", "../b/", "file:///b"),
        ("/a", "..", "file:///"),
        ("/", "b", "file:///b"),
        ("s3://b/a", "../c", "s3://b/c"),
        ("s3://b/a", "..", "s3://b"),
        ("s3://b", "c", "s3://b/c"),
        ("http://h/a?q", "/b//c/.", "http://h/a/b/c?q"),
        ("memory://", "a", "memory://a"),
        ("memory://a", "..", "memory://"),
        ("s3://http://h:1/b/a", "c", "s3://http://h:1/b/a/c"),
    ],
)
def test_join(text, sub, joined):
    url = parse_url(text).join(sub)
    assert str(url) == joined
    assert parse_url(str(url)) == url


@pytest.mark.parametrize("text", ["/a", "s3://b/a", "http://h/a", "memory://a", "hdfs:///a"])
def test_join_stays_below_the_top(text):
    with pytest.raises(InvalidURLError, match="top"):
        parse_url(text).join("../../x")


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        parse_url("/a").path = "/b"


def test_closest():
    assert closest("S4", ["s3", "gs"]) == "; did you mean 's3'?"
    assert closest("quux", ["s3", "gs"]) == ""


SCHEMES = ["", "file://", "s3://", "gs://", "http://", "https://", "memory://", "x+y://", "s3://http://h:1/"]
PARTS = st.lists(st.sampled_from(["a", "b c", "..", ".", "", "%20", "?x", "é", "|", ":", "~", "|zarr3:"]), max_size=6)


@given(st.sampled_from(["", "precomputed://", "zarr3://"]), st.sampled_from(SCHEMES), PARTS, st.booleans())
def test_whatever_parses_is_canonical(format_, scheme, parts, joined):
    text = format_ + scheme + ("/" if joined else "").join(parts)
    try:
        url = parse_url(text, FORMATS)
    except VolumekitError:
        return
    assert parse_url(str(url), FORMATS) == url
    assert str(parse_url(str(url), FORMATS)) == str(url)


def test_a_path_behind_the_format_that_leads_out_of_the_place():
    with pytest.raises(InvalidURLError, match="names no place"):
        parse_url("x+y://a|zarr3:..", FORMATS)


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text):
    try:
        url = parse_url(text, FORMATS)
    except VolumekitError:
        return
    assert parse_url(str(url), FORMATS) == url


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_absolute_paths_are_literal(parts):
    path = "/" + "/".join(parts)
    if "|" not in path and not {".", ".."} & set(parts):
        assert parse_url(path, FORMATS).path == path
