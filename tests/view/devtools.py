"""A page in a headless Chromium, examined through DevTools: what failed to load, and what is drawn where."""

import asyncio
import base64
import io
import json
import time
import urllib.request
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image
from tornado.websocket import websocket_connect

from volumekit.view.browser import HOW_TO_GET_IT, Browser, find_browser

needs_browser = pytest.mark.skipif(find_browser() is None, reason=f"there is no headless browser: {HOW_TO_GET_IT}")

FLAGS = ("--remote-debugging-port=0", "--remote-allow-origins=*")
LOADED = "typeof viewer !== 'undefined' && Boolean(viewer.display)"
FAILED, ON_GPU = 54, 0
EXAMINE = f"""(async () => {{
  const sources = await viewer.chunkQueueManager.getStatistics();
  let failed = 0, drawn = 0;
  for (const [, numbers] of sources) {{ failed += numbers[{FAILED}]; drawn += numbers[{ON_GPU}]; }}
  const errors = viewer.layerManager.managedLayers.flatMap(layer => layer.layer.dataSources)
    .map(source => source.loadState && source.loadState.error && source.loadState.error.message).filter(Boolean);
  const panels = [...viewer.display.panels].map(panel => panel.element.getBoundingClientRect().toJSON());
  return JSON.stringify({{ready: viewer.isReady(), failed, drawn, errors, panels}});
}})()"""


@dataclass
class Seen:
    """What a page shows, and what went wrong on the way."""

    ready: bool = False
    failed: int = 0
    drawn: int = 0
    errors: list = field(default_factory=list)
    panels: list = field(default_factory=list)
    console: list = field(default_factory=list)
    hosts: set = field(default_factory=set)
    picture: np.ndarray | None = None

    def panel(self):
        """Return the pixels of the first panel, (row, column, 3)."""
        box = self.panels[0]
        top, left = round(box["top"]), round(box["left"])
        return self.picture[top : top + round(box["height"]), left : left + round(box["width"])]


def examine(url, *, patience=120.0):
    """Open a page in a browser of its own; return what it shows once it is ready, or something failed."""
    return visit(url, _look, patience=patience)


def visit(url, act, *, patience=120.0):
    """Open a page in a browser of its own, do something with its `Tools`; return what it shows."""
    with Browser(url, flags=FLAGS) as browser:
        return asyncio.run(asyncio.wait_for(_visit(browser, act, patience), 2 * patience))


async def _visit(browser, act, patience):
    end = time.monotonic() + patience
    seen = Seen()
    page = await websocket_connect(await _address(browser, end), max_message_size=1 << 28)
    try:
        await act(Tools(page, seen), seen, end)
    finally:
        page.close()
        while await page.read_message() is not None:
            pass
    return seen


async def _look(tools, seen, end):
    for domain in ("Runtime", "Log", "Network"):
        await tools.ask(f"{domain}.enable")
    while not (seen.ready or seen.failed or seen.errors) and time.monotonic() < end:
        await asyncio.sleep(0.1)
        if await tools.evaluate(LOADED):
            vars(seen).update(json.loads(await tools.evaluate(EXAMINE) or "{}"))
    shot = await tools.ask("Page.captureScreenshot", format="png")
    seen.picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB"))


async def _address(browser, end):
    """Return the address of the page's DevTools, once the browser has written down its port."""
    file = browser.profile / "DevToolsActivePort"
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=20) as reply:
                pages = [page for page in json.load(reply) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        await asyncio.sleep(0.05)
    raise TimeoutError("the browser did not start")


class Elsewhere(Exception):
    """The page has gone to another one meanwhile."""


class Tools:
    """The questions and answers of DevTools, and what it tells unasked."""

    def __init__(self, page, seen):
        self._page, self._seen, self._number = page, seen, 0

    async def ask(self, method, **params):
        self._number += 1
        await self._page.write_message(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = await self._page.read_message()
            assert message is not None, "the browser ended"
            told = json.loads(message)
            if told.get("id") == self._number:
                if "navigated" in told.get("error", {}).get("message", ""):
                    raise Elsewhere
                assert "error" not in told, told
                return told["result"]
            self._note(told.get("method"), told.get("params", {}))

    def _note(self, method, params):
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if url.startswith(("http:", "https:", "ws:", "wss:")):
                self._seen.hosts.add(url.split("/")[2].rpartition(":")[0])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self._seen.console.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self._seen.console.append(params["exceptionDetails"]["text"])

    async def evaluate(self, expression):
        """Return what an expression is; None while one page leads to the next."""
        try:
            found = await self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        except Elsewhere:
            return None
        return found["result"].get("value")
