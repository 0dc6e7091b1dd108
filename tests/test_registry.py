"""The plug-in door: rows, entry points of other packages, and what happens when they cannot be loaded."""

import pytest

from volumekit.errors import MissingExtraError, UnsupportedError, VolumekitError
from volumekit.registry import Registry, load


def install(monkeypatch, folder, rows, *, package="other", modules=None):
    """Put a package on the search path."""
    info = folder / f"{package}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[things]\n" + "".join(f"{k} = {v}\n" for k, v in rows.items()))
    for name, text in (modules or {}).items():
        (folder / f"{name}.py").write_text(text)
    if str(folder) not in __import__("sys").path:
        monkeypatch.syspath_prepend(folder)


def test_own_rows_are_loaded_when_used():
    things = Registry("things", {"a": "os.path:join", "b": "no_such_module:Thing"})
    assert (set(things), len(things), "b" in things, "c" in things) == ({"a", "b"}, 2, True, False)
    assert things["a"](*"xy") == "x/y"
    with pytest.raises(KeyError):
        things["c"]
    with pytest.raises(ModuleNotFoundError):
        things["b"]


def test_other_packages_add_rows_and_ours_win(monkeypatch, tmp_path):
    things = Registry("things", {"a": "os.path:join"})
    assert set(things) == {"a"}
    install(monkeypatch, tmp_path, {"a": "os.path:split", "z": "plugged_z:Thing"}, modules={"plugged_z": "Thing = 26"})
    assert set(things) == {"a", "z"}
    assert things["z"] == 26
    assert things["a"](*"xy") == "x/y"


def test_packages_that_are_installed_while_we_run_are_seen(monkeypatch, tmp_path):
    things = Registry("things", {})
    monkeypatch.syspath_prepend(tmp_path)
    assert set(things) == set()
    install(monkeypatch, tmp_path, {"late": "os.path:join"})
    assert set(things) == {"late"}


def test_the_search_is_remembered(monkeypatch, tmp_path):
    things = Registry("things", {})
    install(monkeypatch, tmp_path, {"z": "os.path:join"})
    assert "z" in things
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    assert set(things) == {"z"}


@pytest.mark.parametrize(
    "row", ["no_such_module_at_all:Thing", "os.path:no_such_name", "nonsense", "plugged_broken:Thing"]
)
def test_a_broken_plug_in_is_an_error_that_names_it(monkeypatch, tmp_path, row):
    install(monkeypatch, tmp_path, {"bad": row}, modules={"plugged_broken": "raise ZeroDivisionError"})
    things = Registry("things", {"good": "os.path:join"})
    assert "bad" in things
    assert things["good"]
    with pytest.raises(UnsupportedError, match=r"'bad' of the package other .*uninstall"):
        things["bad"]


def test_a_missing_extra_tells_the_command(monkeypatch, tmp_path):
    with pytest.raises(MissingExtraError, match=r"pip install 'volumekit\[zarr\]'"):
        load("no_such_module_at_all:Thing[zarr]")
    install(monkeypatch, tmp_path, {"bad": "no_such_module_at_all:Thing [fast]"})
    with pytest.raises(MissingExtraError, match=r"no_such_module_at_all .*pip install 'other\[fast\]'") as caught:
        Registry("things", {})["bad"]
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, VolumekitError)
