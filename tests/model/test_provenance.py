import copy
import json
import pickle

import pytest

from volumekit.errors import MetadataError
from volumekit.model.provenance import Provenance

DEFAULTS = '{"sources":[],"owners":[],"processing":[],"description":""}'


def test_defaults():
    assert Provenance().serialize() == DEFAULTS
    assert json.loads(DEFAULTS) == Provenance()


@pytest.mark.parametrize("data", ["{}", b"{}", {}, "", b" \n", DEFAULTS, '{"sources":"","description":null}'])
def test_empty_files_and_members_stand_for_the_defaults(data):
    assert Provenance.from_json(data) == Provenance()


def test_defaults_are_not_shared():
    Provenance().owners.append("ada")
    assert Provenance().owners == []


def test_members_are_attributes():
    p = Provenance(owners=["ada"])
    p.description = "text"
    p.extra = {"a": 1}
    assert (p["description"], p.owners, p["extra"]) == ("text", ["ada"], {"a": 1})
    del p.extra
    assert "extra" not in p
    assert "owners" in dir(p)
    with pytest.raises(AttributeError, match="extra"):
        _ = p.extra
    with pytest.raises(AttributeError, match="extra"):
        del p.extra


def test_unknown_members_are_kept():
    text = '{"sources":["s"],"owners":[],"processing":[{"method":{"a":[1]}}],"description":"é","z":{"y":null}}'
    p = Provenance.from_json(text.encode())
    assert json.loads(p.serialize()) == json.loads(text)
    assert p.z == {"y": None}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, Provenance.copy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies(again):
    p = Provenance(owners=["ada"], z=1)
    q = again(p)
    assert q == p
    assert type(q) is Provenance
    q.description = "other"
    assert p.description == ""


BAD = [
    {"owners": "ada"},
    {"owners": [1]},
    {"owners": {"a": 1}},
    {"sources": [None]},
    {"processing": ["x"]},
    {"processing": {"by": "x"}},
    {"description": ["x"]},
    {"extra": float("nan")},
]


@pytest.mark.parametrize("members", BAD)
def test_bad_types_when_opened_and_when_stored(members):
    with pytest.raises(MetadataError):
        Provenance.from_json(json.dumps(members))
    with pytest.raises(MetadataError):
        Provenance(members).validate()
    with pytest.raises(MetadataError):
        Provenance(members).serialize()


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", "{", "[]", "3", "null", "[" * 100_000, '{"a":' + "9" * 5000 + "}"])
def test_damaged_files(data):
    with pytest.raises(MetadataError):
        Provenance.from_json(data)


def test_absurdly_long_files(monkeypatch):
    monkeypatch.setattr("volumekit.model.provenance.MAX_BYTES", 10)
    with pytest.raises(MetadataError, match="limit"):
        Provenance.from_json(DEFAULTS)


def test_what_cannot_be_stored():
    p = Provenance()
    del p.owners
    with pytest.raises(MetadataError, match="owners"):
        p.validate()
    with pytest.raises(MetadataError, match="JSON"):
        Provenance(extra={1, 2}).serialize()
    loop = Provenance()
    loop.processing.append(loop)
    with pytest.raises(MetadataError, match="JSON"):
        loop.serialize()


def test_names_given_twice_can_be_read_but_not_stored():
    p = Provenance.from_json('{"owners":["ada","ada"]}')
    with pytest.raises(MetadataError, match="duplicates"):
        p.serialize()
    p.owners.pop()
    p.validate()
