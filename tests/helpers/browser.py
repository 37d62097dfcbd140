"""Drive one tab of a headless Chromium over its DevTools pipe, without another package."""

import itertools
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
)
TIMEOUT = 60
"""Seconds without an answer after which the browser counts as dead."""


class Browser:
    """One tab of a headless Chromium; the DevTools protocol is NUL-separated JSON on its descriptors 3 and 4."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        start = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", start, "bash", str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._received = b""
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its answer. Keep the events that come before it."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params} | self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            while b"\0" not in self._received:
                ready, _, _ = select.select([self._in], [], [], TIMEOUT)
                part = os.read(self._in, 1 << 20) if ready else b""
                assert part, f"the browser gave no answer to {method}"
                self._received += part
            text, _, self._received = self._received.partition(b"\0")
            message = json.loads(text)
            if message.get("id") == number:
                assert "error" not in message, message
                answer: dict[str, Any] = message["result"]
                return answer
            self.events.append(message)

    def run(self, script: str) -> Any:
        """Evaluate a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path | str) -> None:
        """Load a file or a URL and wait until it is complete."""
        self.events.clear()
        self.send("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def choose(self, control: str, value: str) -> list[str]:
        """Set a control of the gallery as a user does, and return the ids of the items then shown."""
        self.run(
            f"(() => {{ const control = document.querySelector('#filters [name={control}]'); "
            f"control.value = {json.dumps(value)}; "
            "control.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        return self.list_shown()

    def list_shown(self) -> list[str]:
        script = "[...document.querySelectorAll('.item')].filter(e => e.checkVisibility()).map(e => e.id.slice(5))"
        found: list[str] = self.run(script)
        return found

    def close(self) -> None:
        self.send("Browser.close")
        self._process.wait(TIMEOUT)
        os.close(self._in)
        os.close(self._out)
