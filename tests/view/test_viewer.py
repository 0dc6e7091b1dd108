"""Viewers: what they show, where one looks at them, and what cannot be."""

import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import zarr

from tests.serve.client import get
from tests.view.test_page import told
from volumekit import Volume
from volumekit.cli import view as command
from volumekit.cli.main import run
from volumekit.errors import MissingExtraError, OptionError, StorageError
from volumekit.picture.image import png_bytes
from volumekit.view import shared, viewer
from volumekit.view.page import MOST_OPENINGS
from volumekit.view.picture import saving
from volumekit.view.viewer import Viewer


def test_views_share_a_server(brain, tmp_path):
    one, two = brain.view(browser=False), Volume(brain.cloudpath).view(browser=False)
    assert one.url != two.url
    assert one.state == two.state
    assert (one.names, two.names) == (("brain",), ("brain",))
    (tmp_path / "other").mkdir()
    other = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "other/brain", chunk_size=(8, 8, 8))
    third = other.view(brain, browser=False)
    assert third.names == ("brain-2", "brain")
    assert np.array_equal(Volume(third.state["layers"][0]["source"])[:], np.ones((8, 8, 8, 1)))
    brain.add_scale((2, 2, 1))
    brain.commit_info()
    again = brain.view(browser=False)
    assert again.names == ("brain",)
    assert len(Volume(again.state["layers"][0]["source"]).scales) == 2


def test_a_viewer_shows_its_state_as_it_is(brain):
    made = brain.view(browser=False)
    base, _, path = made.url.partition("/-/")
    assert repr(made) == f"Viewer(brain at {made.url})"
    assert f"<iframe src='{made.url}'" in made._repr_html_()
    server = made._server
    page = told(get(server, f"/-/{path}").body.decode())
    assert (page["state"], page["base"], page["fit"]) == (made.state, base, True)
    made.state |= {"layout": "xy", "crossSectionScale": 0.5}
    page = told(get(server, f"/-/{path}").body.decode())
    assert (page["state"], page["fit"]) == (made.state, False)
    assert page["state"]["layout"] == "xy"
    assert get(server, "/-/shown/0").status == get(server, "/-/shown/1000000").status == 404
    for _ in range(MOST_OPENINGS):
        server.app.state.site.viewer.show(made._opening)
    assert get(server, f"/-/{path}").status == 404


@pytest.mark.parametrize(
    ("desktop", "asked", "opened"), [(True, None, 1), (False, None, 0), (False, True, 1), (True, False, 0)]
)
def test_when_a_browser_opens(brain, monkeypatch, desktop, asked, opened):
    urls = []
    monkeypatch.setattr(viewer.webbrowser, "open", lambda url: urls.append(url) or True)
    monkeypatch.setattr(viewer, "_desktop", lambda: desktop)
    made = brain.view(browser=asked)
    assert urls == [made.url] * opened


@pytest.mark.usefixtures("notebook")
def test_not_in_notebooks(brain, monkeypatch):
    urls = []
    monkeypatch.setattr(viewer.webbrowser, "open", urls.append)
    monkeypatch.setattr(viewer, "_desktop", lambda: True)
    brain.view()
    assert urls == []


@pytest.mark.usefixtures("notebook")
def test_the_link_of_a_card(brain, tmp_path):
    """Nothing runs until somebody follows it; views that open before and after share its server."""
    (link,) = re.findall(r"href='([^']+)'", brain._repr_html_())
    other = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "other", chunk_size=(8, 8, 8))
    (second,) = re.findall(r"href='([^']+)'", other._repr_html_())
    assert link.endswith("/-/view/brain")
    assert second.endswith("/-/view/other")
    assert not shared.shared().running
    base = link.removesuffix("/-/view/brain")
    assert get(base, "/-/view/brain").status == 200
    shared.shared()._waiting.join(60)
    assert shared.shared().running
    assert get(base, "/-/view/other").status == 200
    assert brain.view(browser=False).url.startswith(base)


@pytest.mark.usefixtures("notebook")
def test_a_link_that_nobody_followed(brain):
    (link,) = re.findall(r"href='([^']+)'", brain._repr_html_())
    made = brain.view(browser=False)
    assert made.url.startswith(link.removesuffix("view/brain"))
    assert get(made._server, "/-/view/brain").status == 200
    shared.shared().close()
    shared._of.cache_clear()
    (link,) = re.findall(r"href='([^']+)'", brain._repr_html_())
    waiting = shared.shared()
    waiting.close()
    assert not waiting.running
    assert not waiting._waiting.is_alive()
    shared._of.cache_clear()


@pytest.mark.usefixtures("notebook")
def test_the_card_without_the_extra(brain, monkeypatch):
    monkeypatch.setattr(shared, "find_spec", lambda name: None if name == "neuroglancer" else name)
    card = brain._repr_html_()
    assert "href" not in card
    assert "pip install 'volumekit[view]'" in card


def test_the_card_elsewhere(brain):
    card = brain._repr_html_()
    assert "href" not in card
    assert "2 × 2 × 2 = 8<" in card
    assert card.count("<svg") == 1


def test_without_the_extra(brain, running, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    monkeypatch.setitem(sys.modules, "neuroglancer.static", None)
    monkeypatch.delitem(sys.modules, "volumekit.view.page", raising=False)
    monkeypatch.delitem(sys.modules, "volumekit.view.viewer", raising=False)
    reply = get(running(brain), "/-/v/1/")
    assert reply.status == 404
    assert b"pip install 'volumekit[view]'" in reply.body
    with pytest.raises(MissingExtraError, match=r"volumekit\[view\]"):
        brain.view(browser=False)


def test_one_viewer_of_several_datasets(running, brain, tmp_path):
    labels = Volume.from_numpy(np.ones((8, 8, 8), np.uint8), tmp_path / "labels", layer_type="segmentation")
    server = running(brain, labels)
    made = Viewer(server, server.names)
    assert made.names == ("brain", "labels")
    assert [layer["type"] for layer in made.state["layers"]] == ["image", "segmentation"]


def test_labels_that_do_not_say_so(brain, tmp_path):
    cells = Volume.from_numpy(np.full((8, 8, 8), 7, np.uint16), tmp_path / "cells", chunk_size=(8, 8, 8))
    state = brain.view(labels=cells, browser=False).state
    assert [layer["type"] for layer in state["layers"]] == ["image", "segmentation"]
    assert state["layers"][1]["segments"] == ["7"]
    again = cells.view(labels=[cells], browser=False)
    assert (again.names, again.state["layers"][0]["type"]) == (("cells",), "segmentation")
    other = cells.view(browser=False)
    assert (other.names, other.state["layers"][0]["type"]) == (("cells-2",), "image")
    for array in (np.zeros((8, 8, 8), np.float32), np.zeros((8, 8, 8, 3), np.uint8)):
        wrong = Volume.from_numpy(array, tmp_path / f"wrong{array.ndim}", chunk_size=(8, 8, 8))
        with pytest.raises(OptionError, match=r"labels are whole numbers in one channel; wrong. holds"):
            brain.view(labels=wrong, browser=False)


def test_labels_of_64_bits_stay_whole_numbers(tmp_path):
    """Precomputed has no int64; as an image it is shown as float32."""
    array = np.full((8, 8, 8), 2**40 + 1)
    zarr.create_array(str(tmp_path / "cells.zarr"), data=array)
    cells = Volume(tmp_path / "cells.zarr")
    made = cells.view(labels=cells, browser=False)
    assert made.state["layers"][0]["segments"] == [str(2**40 + 1)]
    assert np.array_equal(Volume(made.state["layers"][0]["source"])[:], array[..., None].astype(np.uint64))
    assert Volume(cells.view(browser=False).state["layers"][0]["source"]).dtype == np.float32


def test_pictures_that_cannot_be(brain, tmp_path):
    made = brain.view(browser=False)
    (tmp_path / "taken.png").mkdir()
    for path, size, text in (
        (None, (10, 600), "a picture of 10 by 600 pixels"),
        (None, (600, 5000), "each side has 64 to 4096"),
        (tmp_path / "a.nothing", (600, 600), "tells no format"),
        (tmp_path / "a", (600, 600), "name it something.png"),
        (tmp_path / "no/a.png", (600, 600), "there is no folder"),
    ):
        with pytest.raises(OptionError, match=text):
            made.screenshot(path, size=size)
    with pytest.raises(StorageError, match="directory"):
        saving(tmp_path / "taken.png", (100, 100))(png_bytes(np.zeros((8, 8), np.uint8)))
    assert saving(tmp_path / "a.jpg", (100, 100))(png_bytes(np.zeros((8, 6), np.uint8))).size == (8, 6)
    assert (tmp_path / "a.jpg").read_bytes()[:2] == b"\xff\xd8"


def interrupted():
    raise KeyboardInterrupt


def test_the_command_at_another_position(tmp_path, monkeypatch):
    """Images and labels are shown at it."""
    image = zarr.open_group(tmp_path / "film.zarr", mode="w")
    image.create_array("0", data=np.arange(3 * 8**3, dtype=np.uint16).reshape(3, 8, 8, 8), chunks=(1, 8, 8, 8))
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "zyx")]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 4, 4, 4]}]}]
    image.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    shown, opened = [], []
    monkeypatch.setattr(viewer.Viewer, "open", lambda self, **how: shown.append(self))
    monkeypatch.setattr(command, "_wait", interrupted)
    made = viewer.Viewer.of.__func__

    def of(cls, server, volumes, labels=()):
        opened.append((list(volumes), list(labels)))
        return made(cls, server, *opened[-1])

    monkeypatch.setattr(viewer.Viewer, "of", classmethod(of))
    film = str(tmp_path / "film.zarr")
    assert run(["view", film, "--labels", film, "--at", "t=2"]) == 130
    assert len(shown) == 1
    for volume in (*opened[0][0], *opened[0][1]):
        np.testing.assert_array_equal(volume[..., 0], np.arange(3 * 8**3).reshape(3, 8, 8, 8)[2].T)
    assert [len(part) for part in opened[0]] == [1, 1]


def test_the_command(brain, tmp_path, monkeypatch, capsys):
    """Same names are told apart; the address is short; a port that is taken is an error."""
    shown = []
    monkeypatch.setattr(viewer.Viewer, "open", lambda self, **how: shown.append(self))
    monkeypatch.setattr(command, "_wait", interrupted)
    (tmp_path / "other").mkdir()
    Volume.from_numpy(np.ones((8, 8, 8), np.uint16), tmp_path / "other/brain", chunk_size=(8, 8, 8))
    assert run(["view", brain.cloudpath, brain.cloudpath, "--labels", str(tmp_path / "other/brain")]) == 130
    assert shown[0].names == ("brain", "brain-2")
    assert [layer["type"] for layer in shown[0].state["layers"]] == ["image", "segmentation"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/-/shown/1\n", capsys.readouterr().out)
    assert run(["view", brain.cloudpath, "--no-browser"]) == 130
    assert len(shown) == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["view", brain.cloudpath, "--port", str(taken.getsockname()[1])]) == 1
    assert "choose another --port" in capsys.readouterr().err
    assert run(["view"]) == 2
    assert "name what to show" in capsys.readouterr().err
    assert run(["view", str(tmp_path / "nothing"), "--no-browser"]) == 1
    assert "no dataset at" in capsys.readouterr().err


@pytest.mark.parametrize("looked", [False, True])
def test_nothing_is_left_open_when_the_process_ends(brain, looked):
    """Sockets that the interpreter has to close are warned of; whether it gets to that depends on what else it ends."""
    program = f"""
import atexit, gc, socket, urllib.request
left = lambda: [s for s in gc.get_objects() if isinstance(s, socket.socket) and s.fileno() != -1]
atexit.register(lambda: print(len(left())))
from volumekit import Volume
from volumekit.view.shared import link
address = link(Volume({brain.cloudpath!r}))
print(len(left()))
if {looked}:
    urllib.request.urlopen(address).read()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True)
    before, after = done.stdout.split()
    assert int(before) == 3
    assert int(after) == 0
    assert not done.stderr


@pytest.mark.usefixtures("notebook")
def test_a_forked_process_leaves_the_server_alone(brain, monkeypatch):
    """It inherits what is to be done at the end, which is to be done where the server runs."""
    (link,) = re.findall(r"href='([^']+)'", brain._repr_html_())
    made = shared.shared()
    monkeypatch.setattr(made, "_process", -1)
    made.close()
    monkeypatch.undo()
    assert get(link.removesuffix("/-/view/brain"), "/-/view/brain").status == 200
