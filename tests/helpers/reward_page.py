"""The page of a reward server in a browser, and what a person does with it."""

import base64
import io
import json
from pathlib import Path
from typing import Any

from browser import Browser
from PIL import Image
from reward_server import RewardServer

_MAKE_FILES = """const data = new DataTransfer();
for (const [name, type, content] of files)
  data.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], name, { type }));"""
_DROP = f"""(([side, files]) => {{ {_MAKE_FILES}
  const target = document.querySelector(`.image[data-side=${{side}}] .drop`);
  for (const kind of ["dragover", "drop"])
    if (target.dispatchEvent(new DragEvent(kind, {{ bubbles: true, cancelable: true, dataTransfer: data }})))
      throw new Error("the browser would leave the page for the file");
}})"""
_PASTE = f"""((files) => {{ {_MAKE_FILES}
  document.body.dispatchEvent(new ClipboardEvent("paste", {{ bubbles: true, cancelable: true, clipboardData: data }}));
}})"""

Named = tuple[str, str, bytes]
"""A file: its name, its type, its content."""


def draw(number: int, size: tuple[int, int] = (48, 36)) -> bytes:
    """A picture of its own for every number."""
    image = Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, 120))
    image.putpixel((0, 0), (255, 255, 255))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def name_png(name: str, content: bytes) -> Named:
    return name, "image/png", content


class RewardPage:
    """The page of this server in this browser."""

    def __init__(self, browser: Browser, server: RewardServer) -> None:
        self.browser, self.server, self.run = browser, server, browser.run

    def open(self, width: int = 1440, language: str = "en-US") -> "RewardPage":
        """Load the page as a new tab would, and wait until it shows what it has."""
        send = self.browser.send
        send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        send("Emulation.setUserAgentOverride", userAgent="a browser", acceptLanguage=language)
        self.browser.open(self.server.url + "/")
        if self.run("sessionStorage.length"):
            self.run("sessionStorage.clear()")
            self.browser.open(self.server.url + "/")
        assert self.until("known.judges || known.needsToken")
        return self

    def until(self, condition: str, turns: int = 1000) -> bool:
        """Whether a JavaScript condition comes true within ten seconds."""
        found: bool = self.run(
            f"(async () => {{ for (let turn = 0; turn < {turns}; turn++) {{ if ({condition}) return true;"
            " await new Promise(next => setTimeout(next, 10)); } return false; })()"
        )
        return found

    def text(self, selector: str) -> str:
        """What can be seen of the first such element."""
        found: str = self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def shows(self, selector: str) -> bool:
        found: bool = self.run(f"document.querySelector({json.dumps(selector)}).checkVisibility()")
        return found

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, value: str) -> None:
        """Give a field a value as a person does."""
        self.run(
            f"((field) => {{ field.value = {json.dumps(value)};"
            " for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true })); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def drop(self, side: str, *files: Named) -> None:
        self.run(f"{_DROP}({json.dumps([side, _encode(files)])})")
        self._wait_for_pictures()

    def paste(self, *files: Named) -> None:
        self.run(f"{_PASTE}({json.dumps(_encode(files))})")
        self._wait_for_pictures()

    def pick(self, side: str, *paths: Path) -> None:
        """Choose files with the button."""
        root = self.browser.send("DOM.getDocument")["root"]["nodeId"]
        node = self.browser.send("DOM.querySelector", nodeId=root, selector=f"#{side}-file")["nodeId"]
        self.browser.send("DOM.setFileInputFiles", nodeId=node, files=list(map(str, paths)))
        self._wait_for_pictures()

    def _wait_for_pictures(self) -> None:
        assert self.until("Object.values(images).every((image) => image?.state !== 'reading')")

    def ask(self, number: int, judge: str = "", category: str = "物理", instruction: str = "make it rain") -> None:
        """Fill the form with two images, and send it."""
        self.drop("source", name_png("source.png", draw(1)))
        self.drop("edited", name_png("edited.png", draw(number)))
        if judge:
            self.fill("#judge", judge)
        self.fill("#instruction", instruction)
        self.fill("#category-list" if self.shows("#category-list") else "#category", category)
        self.send()

    def send(self) -> None:
        """Send the form, and wait for the result."""
        self.click("#send")
        assert self.until("!running")

    def facts(self, selector: str) -> dict[str, str]:
        """Names and values of a list."""
        found: dict[str, str] = self.run(
            f"Object.fromEntries([...document.querySelectorAll({json.dumps(selector + ' .facts > div')})]"
            ".map((pair) => [pair.children[0].innerText, pair.children[1].innerText]))"
        )
        return found

    def count_requests(self, path: str) -> int:
        events = (event["params"] for event in self.browser.events if event["method"] == "Network.requestWillBeSent")
        return sum(event["request"]["url"] == self.server.url + path for event in events)

    def complaints(self) -> list[Any]:
        """What the console has: errors, and what the policy of the page forbade."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [event for event in self.browser.events if event["method"] in kinds]


def _encode(files: tuple[Named, ...]) -> list[tuple[str, str, str]]:
    return [(name, kind, base64.b64encode(content).decode()) for name, kind, content in files]
