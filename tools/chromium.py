"""A headless Chromium driven through its own protocol over two pipes; nothing but the browser is needed.

Pages are opened from the disk with every other address cut off; each keeps what it requested and what it said
on the console.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Browser", "Visit", "find"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of a Chromium on this machine, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass
class Visit:
    """One page, opened: what it requested, what went wrong on its console, and a way to ask it."""

    browser: "Browser"
    session: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.browser.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
            self.session,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", expression))
        return answer["result"].get("value")

    def screenshot(self, file: Path, scheme: str) -> None:
        """The whole page as a PNG, in the reader's `light` or `dark` scheme."""
        height = self.evaluate(
            f"""document.documentElement.dataset.mode = document.documentElement.dataset.theme = '{scheme}';
            document.head.insertAdjacentHTML('beforeend',
              '<style>* {{ transition: none !important; animation: none !important }}</style>');
            document.documentElement.scrollHeight"""
        )
        metrics = {"width": 1280, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.call("Emulation.setDeviceMetricsOverride", metrics, self.session)
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 500)))")
        answer = self.browser.call("Page.captureScreenshot", {"format": "png"}, self.session)
        file.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """A running Chromium; a context manager, so that it always ends."""

    def __init__(self) -> None:
        path = find()
        if path is None:
            raise FileNotFoundError("no Chromium was found")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        arguments = [
            path,
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--proxy-server=direct://",
            f"--user-data-dir={self._profile.name}",
            "--window-size=1280,1600",
            "about:blank",
        ]
        # The protocol is spoken on descriptors 3 and 4: out of their way first, so that neither covers the other.
        high_in, high_out = (fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (theirs_in, theirs_out))
        wrapped = ["/bin/bash", "-c", f'exec "$0" "$@" 3<&{high_in} 4>&{high_out}', *arguments]
        self._process = subprocess.Popen(
            wrapped, pass_fds=(high_in, high_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for end in (theirs_in, theirs_out, high_in, high_out):
            os.close(end)
        self._out = os.fdopen(ours_out, "wb", buffering=0)
        self._in = os.fdopen(ours_in, "rb", buffering=0)
        self._buffer = b""
        self._count = 0
        self._visits: dict[str, Visit] = {}

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._out.close()
        self._in.close()
        self._profile.cleanup()

    def call(self, method: str, parameters: dict[str, Any] | None = None, session: str = "") -> Any:
        """Sends one command and returns its result; events that come in meanwhile go to their page."""
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        for received in self._messages():
            if received.get("id") == number:
                if "error" in received:
                    raise RuntimeError(f"{method}: {received['error']['message']}")
                return received["result"]
            self._note(received)
        raise RuntimeError("Chromium ended by itself")

    @contextmanager
    def visit(self, file: Path) -> Iterator[Visit]:
        """Opens a file of the disk and waits until it is loaded and its formulas are set."""
        if not file.exists():
            raise FileNotFoundError(f"{file} was not built")
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        visit = self._visits[session] = Visit(self, session)
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.call(f"{domain}.enable", {}, session)
        self.call("Page.navigate", {"url": file.as_uri()}, session)
        _wait(lambda: visit.evaluate("location.protocol === 'file:' && document.readyState === 'complete'"))
        visit.evaluate("window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => 1) : 1")
        try:
            yield visit
        finally:
            del self._visits[session]
            self.call("Target.closeTarget", {"targetId": target})

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" in self._buffer:
                message, _, self._buffer = self._buffer.partition(b"\0")
                yield json.loads(message)
            received = self._in.read(1 << 20)
            if not received:
                return
            self._buffer += received

    def _note(self, event: dict[str, Any]) -> None:
        visit = self._visits.get(event.get("sessionId", ""))
        if visit is None:
            return
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            visit.requests.append(parameters["request"]["url"])
        elif method == "Network.loadingFailed":
            visit.errors.append(f"a request failed: {parameters['errorText']}")
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            visit.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            visit.errors.append(" ".join(str(argument.get("value", "")) for argument in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            visit.errors.append(parameters["entry"]["text"])


def _wait(done: Any, seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            raise TimeoutError("a page did not load")
        time.sleep(0.05)
