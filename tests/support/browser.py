"""A headless Chromium, driven over its debugging pipe (Chrome DevTools Protocol): no driver program and no package is needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--no-default-browser-check", "--disable-sync",
    "--force-prefers-reduced-motion", "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip
SECONDS = 60.0
FIRST_FREE = 20
"""Lowest descriptor of the pipes, so that they do not stand where Chromium expects them."""
KEYS = {"Tab": 9, "Enter": 13, "ArrowDown": 40, " ": 32}


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a running Chromium."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._number, self._rest = to_browser, from_browser, 0, b""
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        # What the console of the page reported, and the addresses that the page asked for.
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url: str) -> None:
        self._events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for_load()

    def wait_for_load(self) -> None:
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()

    def run(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    def text(self, selector: str = "body") -> str:
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector: str, *, loads: bool = False) -> None:
        """Click on the middle of an element as with a mouse; wait for the next page if it loads one."""
        script = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getClientRects()[0]; return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        x, y = self.run(script)
        self._events.clear()
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        if loads:
            self.wait_for_load()

    def type(self, selector: str, text: str) -> None:
        """Type a text into a field, in place of what is there."""
        self.run(f"document.querySelector({json.dumps(selector)}).select?.()")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, alt: bool = False, loads: bool = False) -> None:
        """Press a key, with Alt for an access key of the page; wait for the next page if it loads one."""
        self._events.clear()
        code, number = (f"Key{key.upper()}", ord(key.upper())) if alt else (key, KEYS[key])
        given = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": int(alt)}
        written = key if alt else {"Enter": "\r", " ": " "}.get(key)
        text = {"text": written, "unmodifiedText": written} if written else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **given, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)
        if loads:
            self.wait_for_load()

    def set_width(self, width: int, height: int = 900) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **screen)

    def print_pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise AssertionError("Chromium does not answer")
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        if "method" in message:
            self._events.append(message)
            self._note(message["method"], message["params"])
        return message

    def _note(self, name: str, given: Any) -> None:
        if name == "Log.entryAdded":
            self.errors.append(f"{given['entry']['source']}: {given['entry']['text']}")
        elif name == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.errors.append(str(given["args"]))
        elif name == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])


@contextmanager
def browsing() -> Iterator[Browser]:
    program = find_chromium()
    assert program is not None
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    theirs_in, ours_out = (_raise(end) for end in os.pipe())
    ours_in, theirs_out = (_raise(end) for end in os.pipe())

    def place_pipes() -> None:
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            [program, *SWITCHES, *sandbox, f"--user-data-dir={folder}"],
            close_fds=False, preexec_fn=place_pipes, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            os.close(ours_out)
            os.close(ours_in)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _raise(descriptor: int) -> int:
    """Move a descriptor to a high number that child processes do not inherit."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    os.close(descriptor)
    return high
