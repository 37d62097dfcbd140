"""The page of a server in a browser, and what a person does with any of them."""

import json
from typing import Any, Self

from browser import Browser
from reward_server import RewardServer


class ServerPage:
    """The page of this server in this browser. `loaded`: a JavaScript condition that comes true with what it shows."""

    def __init__(self, browser: Browser, server: RewardServer, loaded: str) -> None:
        self.browser, self.server, self.run, self._loaded = browser, server, browser.run, loaded

    def open(self, width: int = 1440, language: str = "en-US") -> Self:
        """Load the page as a new tab would, and wait until it shows what it has."""
        send = self.browser.send
        send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        send("Emulation.setUserAgentOverride", userAgent="a browser", acceptLanguage=language)
        self.browser.open(self.server.url + "/")
        if self.run("sessionStorage.length"):
            self.run("sessionStorage.clear()")
            self.browser.open(self.server.url + "/")
        assert self.until(f"{self._loaded} || known.needsToken")
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
