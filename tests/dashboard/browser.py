"""A headless Chromium, driven over its DevTools protocol: no driver to install beside it."""

import asyncio
import base64
import json
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import aiohttp

from tests.integration.kit import until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "chromium is not installed: apt-get install chromium"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it runs as root in a container, and sees our own page only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--lang=en-GB",
    "--remote-debugging-port=0",
)


def program():
    """Where Chromium is, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@asynccontextmanager
async def running_browser():
    """A browser with a profile of its own, and one connection to it."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program(),
            *_FLAGS,
            f"--user-data-dir={profile}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port_file = Path(profile, "DevToolsActivePort")

            async def listening():
                assert process.returncode is None, "chromium ended"
                return _lines(port_file)

            port, path = await until(listening, 60)
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=2**26) as socket,
            ):
                browser = Browser(socket)
                yield browser
                with suppress(Exception):
                    await browser.call("Browser.close")
                await browser.end()
        finally:
            if process.returncode is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await process.wait()
            if process.returncode is None:
                process.kill()
            await process.wait()


def _lines(port_file):
    """Port and path, once both have been written."""
    lines = port_file.read_text().splitlines() if port_file.exists() else []
    return lines if len(lines) == 2 else None


class Browser:
    """Calls with their answers, and events by the session of the page that they are about."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = count(1)
        self._waiting = {}
        self._pages = {}
        self._reading = asyncio.create_task(self._read())

    async def call(self, method, session=None, **parameters):
        """Ask, and return the answer."""
        number = next(self._numbers)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(60):
            return await answer

    @asynccontextmanager
    async def page(self, address, *, width=1200, height=900, dark=False, before=""):
        """A tab that shows an address, with cookies of its own.

        `before` is a script that runs before the page's own.
        """
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = Page(self, attached["sessionId"])
        self._pages[attached["sessionId"]] = page
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            await page.resize(width, height, dark=dark)
            if before:
                await page.call("Page.addScriptToEvaluateOnNewDocument", source=before)
            await page.open(address)
            yield page
        finally:
            with suppress(Exception):
                await self.call("Target.disposeBrowserContext", browserContextId=context)
            self._pages.pop(attached["sessionId"], None)

    async def end(self):
        """Read no more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self):
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._waiting.pop(told["id"])
                if answer.done():
                    continue
                if "error" in told:
                    answer.set_exception(RuntimeError(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
            elif page := self._pages.get(told.get("sessionId")):
                page.told(told["method"], told["params"])


class Page:
    """One tab."""

    def __init__(self, browser, session):
        self._browser = browser
        self._session = session
        self.complaints = []

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def told(self, method, parameters):
        """Keep what a developer would see in red."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"])
        if method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
            self.complaints.append(parameters["args"])
        if method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(parameters["entry"])

    async def open(self, address):
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def resize(self, width, height, *, dark=False):
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme, still])

    async def run(self, code):
        """The value of an expression in the page, which may be a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, code, seconds=20):
        """Wait until an expression is true; return its value."""
        try:
            return await until(lambda: self.run(code), seconds)
        except TimeoutError:
            text = await self.run("document.body.innerText")
            raise AssertionError(f"not in time: {code}\n{text}\n{self.complaints}") from None

    async def text(self, selector):
        """What is to be read there."""
        return await self.run(f"document.querySelector({json.dumps(selector)})?.innerText")

    async def press(self, text, within="body"):
        """Click the button that says this, as soon as it is there."""
        find = (
            f"[...document.querySelectorAll({json.dumps(within + ' button')})]"
            f".find((one) => one.innerText.includes({json.dumps(text)}))"
        )
        await self.until(f"!!{find}")
        await self.run(f"{find}.click()")

    async def key(self, name, code=None, *, shift=False):
        """Press a key, as a keyboard does."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27}
        event = {
            "key": name,
            "code": name,
            "windowsVirtualKeyCode": codes[name],
            "modifiers": 8 if shift else 0,
            **({"text": "\r"} if name == "Enter" else {}),
        }
        await self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        event.pop("text", None)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    async def picture(self):
        """A PNG of what is to be seen."""
        answer = await self.call("Page.captureScreenshot")
        return base64.b64decode(answer["data"])
