"""The page of a reward server in a browser, and what a person does with it."""

import base64
import io
import json
from pathlib import Path

from browser import Browser
from PIL import Image
from reward_server import RewardServer
from server_page import ServerPage

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


class RewardPage(ServerPage):
    """The page of this server in this browser."""

    def __init__(self, browser: Browser, server: RewardServer) -> None:
        super().__init__(browser, server, loaded="known.judges")

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


def _encode(files: tuple[Named, ...]) -> list[tuple[str, str, str]]:
    return [(name, kind, base64.b64encode(content).decode()) for name, kind, content in files]
