"""Submit tasks to the models of a fleet, from a program of one's own.

    async with Fleet("config/fleet.yaml") as fleet:
        fleet.register_model("strict")
        result = await fleet.submit_task(TaskDefinition(task_id="1", prompt="Hello", model="strict"))

Requests are made by threads, with the client of the judges: same retries, same affinity, same accounts.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from editlane.core.errors import JudgeFailed, UnknownName, UserError, one_line
from editlane.core.fleet_accounts import Ledger, open_ledger
from editlane.core.fleet_state import read_nodes
from editlane.core.fleets import FleetDown, FleetView, Route, find_fleet, read_fleet
from editlane.core.paths import FleetPaths
from editlane.core.urls import check_url
from editlane.endpoint.http import Endpoint, Refused, read_key
from editlane.fleet.tasks import TaskDefinition, TaskResult, TaskState
from editlane.judges.endpoint.completions import read_text

_MOST_KEPT = 100_000
"""Answered tasks that are remembered. The oldest are forgotten first, and would be asked again."""
_FRESH_SECONDS = 1.0
"""Age at which what is known of the fleet is read again; its supervisors write every second or so."""


_TAKEN = "another task has this `task_id`; give each task its own"

_End = tuple[TaskState, str | None, str | None]
"""State, text and error."""


@dataclass(slots=True)
class _Job:
    """A task at work."""

    task: TaskDefinition
    name: str
    """Registered name of its model."""
    until: float
    """Deadline, in time.monotonic()."""
    route: Route | None = None
    attempts: int = 0


class Fleet:
    """Client of a fleet, or of one server with OpenAI's chat completions. Belongs to one event loop at a time."""

    def __init__(
        self,
        configfile: str | Path | None = None,
        *,
        base_url: str | None = None,
        token_env: str | None = None,
        concurrency: int = 16,
        timeout: float = 120.0,
        attempts: int = 5,
        deadline: float = 600.0,
    ) -> None:
        """Take the config of a fleet, or the `base_url` of a server, such as `http://127.0.0.1:8000/v1`.

        token_env: environment variable with the token; a fleet's config names its own. concurrency: requests at once;
        further tasks wait. timeout: seconds of an attempt. attempts: at most so many for a task. deadline: seconds for
        a task that has none of its own. Raises UserError if the fleet does not run.
        """
        if (configfile is None) == (base_url is None):
            raise UserError('Fleet needs a config, as in Fleet("config/fleet.yaml"), or a `base_url`, and not both.')
        self._configfile = configfile
        self._base_url = _check_address(base_url) if base_url is not None else ""
        self._view = find_fleet(configfile) if configfile is not None else None
        self._seen_at = time.monotonic()
        variable = token_env or (self._view.token_env if self._view else None)
        self._endpoint = Endpoint(base_url="", key=read_key(variable, "token_env"), timeout=timeout, attempts=attempts)
        self._deadline = deadline
        self._groups: dict[str, str | None] = {}
        self._running: dict[str, tuple[_Job, asyncio.Task[TaskResult]]] = {}
        self._answered: dict[str, tuple[TaskDefinition, TaskResult]] = {}
        self._counted = Ledger()
        self._ledgers = [self._counted] + ([open_ledger(self._view.name)] if self._view else [])
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="fleet")
        self._lock = threading.Lock()
        self._is_closed = self._is_over = False

    def register_model(self, name: str, group: str | None = None) -> bool:
        """Let tasks name a model. Return False if they can already.

        name: plain, for the newest version, or published. group: for the accounts; with a fleet's config it has the
        group of the model, if that has one. Raises UserError if the fleet does not serve the model, or has it in
        another group.
        """
        if name in self._groups:
            return False
        found = self._find_route(name).group if self._view else None
        if found is not None and group not in (None, found):
            raise UserError(f"{self._view}: {name} is in the group {found}, not in {group}. Leave `group` out.")
        self._groups[name] = found or group
        return True

    async def submit_task(self, task: TaskDefinition) -> TaskResult:
        """Return how the task ended, when it has ended. A failure is a state, and never a text or an exception.

        A task whose id is at work, or was answered, is not asked again: the result is the same. One that failed is. If
        the caller is cancelled, the task goes on for others that wait for it.
        """
        if task.task_id in self._running:
            job, running = self._running[task.task_id]
            return await asyncio.shield(running) if job.task == task else _refuse(task, _TAKEN)
        if task.task_id in self._answered:
            known, result = self._answered[task.task_id]
            return result if known == task else _refuse(task, _TAKEN)
        if problem := self._find_problem(task):
            return _refuse(task, problem)
        deadline = self._deadline if task.deadline is None else task.deadline
        job = _Job(task, task.model or self._choose_model(), time.monotonic() + deadline)
        running = asyncio.create_task(self._run(job), name=f"fleet task {task.task_id}")
        self._running[task.task_id] = (job, running)
        return await asyncio.shield(running)

    def _find_problem(self, task: TaskDefinition) -> str | None:
        if self._is_closed:
            return "the Fleet was closed"
        if not self._groups:
            return "no model is registered; call register_model first"
        if task.model is not None and task.model not in self._groups:
            return f"{UnknownName('model', task.model, self._groups)} Call register_model first."
        if task.prompt is None and not task.task_type:
            return "the task has neither a `prompt` nor a `task_type`"
        return None

    def _choose_model(self) -> str:
        """Return the registered model with the fewest tasks at work; of equal ones that which was registered first."""
        busy = Counter(job.name for job, _ in self._running.values())
        return min(self._groups, key=lambda name: busy[name])

    async def _run(self, job: _Job) -> TaskResult:
        """Have a thread ask, and wait for it. A task that still waits for a thread at its deadline is not asked."""
        started = time.monotonic()
        try:
            asked = self._threads.submit(self._ask, job)
            waiting = asyncio.wrap_future(asked)
            await asyncio.wait({waiting}, timeout=max(0.0, job.until - started))
            if not waiting.done() and asked.cancel():
                end: _End = (TaskState.DEADLINE, None, "the deadline came before a request could be made")
            else:
                end = await waiting
        finally:
            del self._running[job.task.task_id]
        state, text, error = end
        model, group = (job.route.model, self._groups[job.name]) if job.route else (None, None)
        result = TaskResult(
            task_id=job.task.task_id,
            state=state,
            text=text,
            error=error,
            model=model,
            group=group,
            seconds=time.monotonic() - started,
            attempts=job.attempts,
        )
        if state == TaskState.ANSWERED:
            self._answered[job.task.task_id] = (job.task, result)
            if len(self._answered) > _MOST_KEPT:
                del self._answered[next(iter(self._answered))]
        return result

    def _ask(self, job: _Job) -> _End:
        """Make the request of a task, in a thread."""

        def begin() -> None:
            if self._is_over:
                raise JudgeFailed("the Fleet was closed")
            if time.monotonic() >= job.until:
                raise JudgeFailed("the deadline came before a request could be made")
            job.attempts += 1

        task, started, text = job.task, time.monotonic(), None
        messages = [{"role": "user", "content": task.make_prompt()}]
        options = {"max_tokens": task.max_tokens, "temperature": task.temperature}
        try:
            job.route = route = self._find_route(job.name)
            endpoint = replace(
                self._endpoint,
                base_url=route.base_url,
                session=route.session,
                seconds=max(0.0, job.until - started),
                on_attempt=begin,
            )
            body = json.dumps({"model": route.model, "messages": messages, **options}).encode()
            text = endpoint.ask("/chat/completions", read_text, body)
        except Refused as error:
            return TaskState.REFUSED, None, one_line(error)
        except JudgeFailed as error:
            state = TaskState.DEADLINE if time.monotonic() >= job.until else TaskState.FAILED
            return state, None, one_line(error)
        except UserError as error:  # it may run later, but it will not have this model
            return TaskState.FAILED if isinstance(error, FleetDown) else TaskState.REFUSED, None, one_line(error)
        finally:
            if job.route and job.attempts:
                self._record(job.route.model, self._groups[job.name], time.monotonic() - started, text is not None)
        return TaskState.ANSWERED, text, None

    def _record(self, model: str, group: str | None, seconds: float, answered: bool) -> None:
        for ledger in self._ledgers:
            ledger.record(model, group, seconds, answered)

    def _find_route(self, name: str) -> Route:
        """Return where to ask for a registered model now: its newest version may have changed. Raises UserError."""
        view = self._read_view()
        return view.resolve(name) if view else Route(self._base_url, name, self._groups.get(name))

    def _read_view(self) -> FleetView | None:
        with self._lock:
            if self._configfile is not None and time.monotonic() - self._seen_at > _FRESH_SECONDS:
                self._view, self._seen_at = read_fleet(self._configfile), time.monotonic()
            return self._view

    def get_statistics(self) -> dict[str, Any]:
        """Return figures about what this object asked; see `Totals` in core/fleet_accounts.py.

        `models` and `groups` have the same figures by published name and by group. `gpu_distribution` is about all
        clients: the requests of each server, by machine and number; it is empty without a fleet's config.
        """
        accounts = self._counted.summarise().to_json()
        total: dict[str, Any] = accounts["total"]
        nodes = list(read_nodes(FleetPaths(self._view.name).nodes)) if self._view else []
        distribution = {f"{node.node}/{server.number}": server.requests for node in nodes for server in node.servers}
        own = {name: accounts[name] for name in ("models", "groups")}
        return total | {"gpu_distribution": distribution} | own

    async def close(self) -> None:
        """Wait for the tasks at work, and end the threads. Later tasks are refused."""
        self._is_closed = True
        if self._running:
            await asyncio.wait({running for _, running in self._running.values()})
        self._is_over = True
        self._threads.shutdown(cancel_futures=True)
        for ledger in self._ledgers:
            ledger.write()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *about: object) -> None:
        """Close. After an exception the tasks at work are given up: what waits for a thread is not asked any more."""
        if kind is not None:
            self._is_over = True
            for _, at_work in self._running.values():
                at_work.cancel()
        await self.close()


def _check_address(base_url: str) -> str:
    try:
        return check_url(base_url).rstrip("/")
    except ValueError as error:
        raise UserError(f"base_url: {error}") from error


def _refuse(task: TaskDefinition, error: str) -> TaskResult:
    return TaskResult(task_id=task.task_id, state=TaskState.REFUSED, error=error)
