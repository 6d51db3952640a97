"""A headless Chromium, spoken to by its DevTools protocol; for tests of pages."""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import websockets

PATIENCE_SECONDS = 20.0
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab, and what it said and asked for since it was opened."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def listen(self) -> None:
        """Until it is cancelled or the browser ends."""
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(json.dumps(message["params"]["entry"]))
            elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] == "error":
                self.errors.append(json.dumps(message["params"]["args"]))

    async def tell(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await answer
        assert "error" not in message, message
        return message["result"]

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        result = await self.tell(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression gives something true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.run(f"!!({script})"):
                await asyncio.sleep(0.1)

    async def open(self, url: str) -> None:
        await self.tell("Page.navigate", url=url)

    async def write(self, text: str) -> None:
        """As from the keyboard, where the focus is."""
        await self.tell("Input.insertText", text=text)

    async def paste(self, text: str) -> None:
        """As from the clipboard, where the focus is: an editor adds no brackets of its own to that."""
        await self.run(
            f"(() => {{ const data = new DataTransfer(); data.setData('text/plain', {json.dumps(text)});"
            " const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true});"
            " document.activeElement.dispatchEvent(event) })()"
        )

    async def choose(self, selector: str, files: list[Path]) -> None:
        """Put files into a file input."""
        found = await self.tell("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        names = [str(file) for file in files]
        await self.tell("DOM.setFileInputFiles", files=names, objectId=found["result"]["objectId"])

    async def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode((await self.tell("Page.captureScreenshot"))["data"]))


@asynccontextmanager
async def a_page(folder: Path) -> AsyncIterator[Page]:
    """A fresh browser that finds no host but this machine."""
    assert CHROMIUM is not None
    options = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1400,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *options, "about:blank", env={**os.environ, "HOME": str(folder)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            address = await _address(process)
        port = re.search(r":(\d+)/", address)
        assert port is not None
        async with websockets.connect(address, proxy=None, max_size=None) as browser:
            await browser.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(await browser.recv())["result"]["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        url = f"ws://127.0.0.1:{port[1]}/devtools/page/{target}"
        async with websockets.connect(url, proxy=None, max_size=None) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
                await page.tell(f"{domain}.enable")
            try:
                yield page
            finally:
                await page.picture(folder.parent / "last.png")
                listening.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if "DevTools listening on " in line:
            return line.partition("listening on ")[2].strip()
    raise AssertionError("Chromium ended before it listened")
