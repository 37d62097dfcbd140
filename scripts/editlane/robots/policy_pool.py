"""Lend policy servers, one observation in flight each: one that fails or hangs costs an attempt, never an answer."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from websockets.exceptions import ConnectionClosed, WebSocketException

from editlane.core.errors import format_value
from editlane.robots.addresses import PolicyAddress
from editlane.robots.dialects import Metadata, Observation, Refusal, UnfitServer, UnsendableObservation
from editlane.robots.policy_link import PolicyLink
from editlane.robots.replies import Actions, PolicyFailed, Reply, check_actions
from editlane.robots.wire import WireError

T = TypeVar("T")

ATTEMPTS = 3
"""Servers that are asked for one observation. Those that cannot be reached do not count."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Seconds that a server may take."""

    connect_seconds: float = 2.0
    infer_seconds: float = 30.0
    """For an answer. The first one of a server may include the compilation of its model."""


@dataclass(slots=True, eq=False)
class _Waiter:
    tried: list[PolicyLink]
    given: asyncio.Future[PolicyLink]


class PolicyPool:
    """Any number of servers of one policy. Used within one event loop.

    A policy remembers nothing between two observations, so any server may answer any of them.
    """

    def __init__(self, addresses: Iterable[PolicyAddress], limits: PoolLimits | None = None) -> None:
        self._links = [PolicyLink(address) for address in addresses]
        self._limits = limits or PoolLimits()
        self._reference: PolicyAddress | None = None
        self._policy: Metadata | None = None
        self._waiters: list[_Waiter] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def policy(self) -> Metadata | None:
        """Return the metadata that all servers announce, as JSON; None before any server was reached."""
        return self._policy

    @property
    def count_open(self) -> int:
        """Return how many servers are connected now, or are being asked."""
        return sum(link.is_open or link.is_busy for link in self._links)

    @property
    def needs(self) -> tuple[str, ...]:
        """Return what the policy wants to know besides pictures, state and prompt, by its metadata."""
        told = (self._policy or {}).get("needs")
        return tuple(map(str, told)) if isinstance(told, list) else ()

    async def open(self) -> Metadata | None:
        """Reach all servers, at the same time, and return the policy: that of the first one, in order, that answers."""
        links = [link for link in self._links if not (link.is_busy or link.is_open)]
        for link in links:
            link.is_busy = True
        try:
            opened = [_translate(link, link.open(self._limits.connect_seconds)) for link in links]
            for link, error in zip(links, await asyncio.gather(*opened, return_exceptions=True), strict=True):
                self._receive(link, error)
        finally:
            for link in links:
                self._give_back(link)
        return self._policy

    async def infer(self, observation: Observation, deadline: float) -> Reply:
        """Return the actions for an observation. `deadline` is a time of `time.monotonic`.

        Asks up to ATTEMPTS servers. After a refusal one other is asked: if that one answers, the first is to blame,
        else the observation. Raises PolicyFailed.
        """
        began, tried = time.monotonic(), list[PolicyLink]()
        refusal: PolicyFailed | None = None
        answers_missed = 0
        while True:
            link = await self._lease(tried, deadline, refusal)
            asked = link.asked
            try:
                actions = await self._ask(link, observation, deadline)
                link.praise()
                if refusal and tried[-1] is not link:
                    tried[-1].blame(refusal)
                return Reply(actions, str(link.address), len(tried), time.monotonic() - began)
            except UnfitServer as reason:
                link.exclude(reason)
            except UnsendableObservation as error:
                raise PolicyFailed("policy_refused", error) from error
            except PolicyFailed as failure:
                tried.append(link)
                is_refused = failure.kind == "policy_refused"
                is_away = link.asked == asked and failure.kind in ("policy_transport", "policy_timeout")
                answers_missed += not is_away  # it rests, and may be back before the deadline
                if refusal or answers_missed == ATTEMPTS or failure.kind == "deadline":
                    raise refusal or failure from None
                if is_refused and not self._find_up(tried):
                    raise
                refusal = failure if is_refused else None
            finally:
                self._give_back(link)

    def describe(self) -> dict[str, Any]:
        """Describe the pool for people and programs, as JSON."""
        up = [link for link in self._links if link.rests_until <= time.monotonic()]
        return {
            "total_clients": len(self._links),
            "available_clients": sum(not link.is_busy for link in up),
            "hosts_ports": [[link.address.host, link.address.port] for link in self._links],
            "waiting": len(self._waiters),
            "policy": self._policy,
            "servers": [link.describe() for link in self._links],
        }

    async def close(self) -> None:
        """End all that is under way with `no_server`, and return once no socket is left."""
        self._is_closed = True
        if self._alarm:
            self._alarm.cancel()
        for waiter in self._waiters:
            if not waiter.given.done():
                waiter.given.set_exception(PolicyFailed("no_server", "the pool was closed"))
        await asyncio.gather(*(link.close() for link in self._links))
        while any(link.is_busy for link in self._links):  # its caller takes a turn or two of the loop to notice
            await asyncio.sleep(0.002)
            for link in self._links:
                link.drop()

    async def _ask(self, link: PolicyLink, observation: Observation, deadline: float) -> Actions:
        """Ask one server, and blame it for what is its fault. Raises PolicyFailed, UnfitServer and so on."""
        began = time.monotonic()
        try:
            return await _translate(link, self._exchange(link, observation, deadline))
        except PolicyFailed as failure:
            ended = time.monotonic()
            if failure.kind == "policy_timeout" and ended >= deadline:
                if ended - began < self._limits.infer_seconds:
                    link.doubts += 1  # others are asked first, but this one may be in order
                else:
                    link.blame(failure)
                raise PolicyFailed("deadline", "the time was over before the policy answered") from None
            if failure.kind != "policy_refused":
                link.blame(failure)
            raise

    async def _exchange(self, link: PolicyLink, observation: Observation, deadline: float) -> Actions:
        was_open = link.is_open
        if not was_open:
            await self._open(link, deadline)
        try:
            answer = await link.ask(observation, min(self._limits.infer_seconds, deadline - time.monotonic()))
        except (ConnectionClosed, ConnectionResetError):
            if not was_open:
                raise
            await self._open(link, deadline)  # it was idle too long, nobody's fault; a server that is gone shows here
            answer = await link.ask(observation, min(self._limits.infer_seconds, deadline - time.monotonic()))
        return check_actions(answer, observation, link.metadata)

    async def _open(self, link: PolicyLink, deadline: float) -> None:
        await link.open(min(self._limits.connect_seconds, deadline - time.monotonic()))
        self._admit(link)

    def _admit(self, link: PolicyLink) -> None:
        """Let a server take part that announces the pool's policy. Raises UnfitServer."""
        if self._policy is None:
            self._policy, self._reference = link.metadata, link.address
        elif link.metadata != self._policy:
            raise UnfitServer(
                f"it serves another policy than {self._reference}, which was reached first: "
                f"{_compare(link.metadata, self._policy)}; if that is meant, restart what asks it"
            )
        link.is_unfit = False

    def _receive(self, link: PolicyLink, error: BaseException | None) -> None:
        """Take note of how the opening of a socket ended."""
        try:
            if error is not None:
                raise error
            self._admit(link)
            link.welcome()
        except UnfitServer as reason:
            link.drop()
            link.exclude(reason)
        except PolicyFailed as failure:
            link.blame(failure)

    async def _lease(self, tried: list[PolicyLink], deadline: float, refusal: PolicyFailed | None) -> PolicyLink:
        """Wait for a server, in the order of calls. Raises PolicyFailed: the refusal, if there was one."""
        waiter = _Waiter(tried, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            if self._is_closed:
                raise PolicyFailed("no_server", "the pool was closed")
            self._hand_out()
            async with asyncio.timeout(deadline - time.monotonic()):
                return await waiter.given
        except TimeoutError:
            self._take_back(waiter)
            raise refusal or self._explain_wait() from None
        except asyncio.CancelledError:
            self._take_back(waiter)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _take_back(self, waiter: _Waiter) -> None:
        """Take back a server that was handed out in the same moment in which its waiter gave up."""
        if waiter.given.done() and not waiter.given.cancelled() and not waiter.given.exception():
            self._give_back(waiter.given.result())

    def _give_back(self, link: PolicyLink) -> None:
        link.is_busy = False
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free servers to those who wait, first come, first served; look again when the next rest is over."""
        for waiter in list(self._waiters):
            up = self._find_up(waiter.tried) or self._find_up([])  # the same again only if no other one is up
            free = [link for link in up if not link.is_busy]
            if free and not waiter.given.done():
                link = min(free, key=lambda link: (link.doubts, link.used_at))
                link.is_busy, link.used_at = True, time.monotonic()
                self._waiters.remove(waiter)
                waiter.given.set_result(link)
        rests = [link.rests_until for link in self._links if link.rests_until > time.monotonic()]
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if rests and self._waiters and not self._is_closed:
            delay = min(rests) - time.monotonic()
            self._alarm = asyncio.get_running_loop().call_later(max(0.001, delay), self._hand_out)

    def _find_up(self, tried: list[PolicyLink]) -> list[PolicyLink]:
        """Return the servers that do not rest, busy ones too, without those that were tried."""
        now = time.monotonic()
        return [link for link in self._links if link.rests_until <= now and link not in tried]

    def _explain_wait(self) -> PolicyFailed:
        if self._find_up([]):
            return PolicyFailed("deadline", "every policy server was busy until the time was over")
        reasons = "; ".join(f"{link.address}: {link.last_error}" for link in self._links) or "none is configured"
        return PolicyFailed("no_server", f"no policy server is up: {reasons}")


def _compare(own: Metadata, policy: Metadata) -> str:
    names = sorted(name for name in own.keys() | policy.keys() if own.get(name) != policy.get(name))
    return ", ".join(f"{name} {format_value(own.get(name))}, not {format_value(policy.get(name))}" for name in names)


async def _translate(link: PolicyLink, work: Coroutine[Any, Any, T]) -> T:
    """Await what is done with a server's socket. Raises PolicyFailed for what may go wrong, and drops the socket."""
    try:
        return await work
    except Refusal as error:
        if not error.keeps_socket:
            link.drop()
        raise PolicyFailed("policy_refused", error) from None
    except PolicyFailed:
        link.drop()
        raise
    except WireError as error:
        link.drop()
        raise PolicyFailed("policy_garbage", error) from None
    except TimeoutError as error:
        link.drop()
        raise PolicyFailed("policy_timeout", error if str(error) else "no answer in time") from None
    except (OSError, WebSocketException, ValueError) as error:  # ValueError: a redirect to elsewhere, an odd host name
        link.drop()
        raise PolicyFailed("policy_transport", f"{type(error).__name__}: {error}") from None
    except BaseException:  # cancelled while a frame was on its way
        link.drop()
        raise
