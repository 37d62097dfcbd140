"""Work without a long connection: requests that are kept on disk until they are answered, also over a restart."""

import asyncio
import logging
import os
import re
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from editlane.core.errors import UnknownName, one_line
from editlane.core.files import make_folder
from editlane.core.types import Row
from editlane.images.files import write_atomically
from editlane.server.service import RewardService
from editlane.server.wire import (
    JobProgress,
    NamedAnswer,
    ScoreItem,
    ScoreRequest,
    decode_msgpack,
    encode_json,
    name_answer,
    pack,
)

log = logging.getLogger(__name__)

REQUEST, ANSWER = "request.msgpack", "answer.json"
"""The files of a job. The first one goes when the second one is there."""

LONGEST_SECONDS = 7 * 86400.0
"""Time, unless the job has a deadline of its own, after which a job gives up on edits that no judge takes."""

AT_ONCE = 64
"""Edits that a job has in the queue at a time, so that other requests find room."""

SWEEP_SECONDS = 600.0

DONE = "done"

_ID = re.compile(r"[0-9a-f]{32}")


class NoRoom(Exception):
    """The jobs on disk are as large as the config allows."""


@dataclass(slots=True)
class Job:
    """A job that is not finished."""

    ids: list[str]
    rows: dict[int, Row] = field(default_factory=dict)
    state: str = "waiting"
    task: "asyncio.Task[None] | None" = None
    ending: "asyncio.Task[None] | None" = None
    """Writes the answer; not cancelled with the job."""


class Jobs:
    """The jobs of a server, each in a folder of its own."""

    def __init__(self, service: RewardService) -> None:
        self._service, self._config = service, service.config.jobs
        self._folder = service.folder / "jobs"
        self._slots = asyncio.Semaphore(self._config.at_once)
        self._writing = asyncio.Lock()
        self._jobs: dict[str, Job] = {}

    async def run(self) -> None:
        """Go on with the jobs of earlier starts, and delete old answers from time to time."""
        make_folder(self._folder)
        for folder in sorted(self._folder.iterdir(), key=lambda one: one.stat().st_mtime):
            if _ID.fullmatch(folder.name) and (folder / REQUEST).exists():
                self._begin(folder.name, [])
        while True:
            await asyncio.to_thread(self._sweep)
            await asyncio.sleep(SWEEP_SECONDS)

    async def stop(self) -> None:
        """Interrupt all jobs; the next start goes on."""
        tasks = [job.task for job in self._jobs.values() if job.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def add(self, request: ScoreRequest) -> str:
        """Keep a request on disk and begin it. Returns its id. Raises NoRoom and OSError."""
        content, name = pack(request), uuid4().hex
        async with self._writing:  # else jobs that come at once would all find the same room
            if await asyncio.to_thread(self._measure) + len(content) > self._config.megabytes * 1e6:
                raise NoRoom
            await asyncio.to_thread(write_atomically, self._folder / name / REQUEST, content)
        self._begin(name, list_ids(request.items))
        return name

    def _begin(self, name: str, ids: list[str]) -> None:
        job = self._jobs[name] = Job(ids)
        job.task = asyncio.create_task(self._work(name, job))

    async def _work(self, name: str, job: Job) -> None:
        folder = self._folder / name
        try:
            async with self._slots:
                request = decode_msgpack(await asyncio.to_thread((folder / REQUEST).read_bytes))
                job.ids, job.state = list_ids(request.items), "running"
                judge = self._service.find_judge(request.judge)
                seconds = min(request.deadline_s or LONGEST_SECONDS, LONGEST_SECONDS)
                await self._service.score_few_at_once(judge, request.items, AT_ONCE, seconds, job.rows)
                job.ending = asyncio.create_task(asyncio.to_thread(_end, folder, name, job))
                await asyncio.shield(job.ending)
                job.state = DONE
            self._jobs.pop(name, None)
        except UnknownName as error:
            log.warning("the job %s: %s", name, error)
            job.state = f"stopped: {one_line(error)}"
        except Exception as error:  # a job that cannot go on stays on disk for the next start; the others go on
            log.exception("the job %s stopped", name)
            job.state = f"stopped: {type(error).__name__}"

    async def look(self, name: str) -> bytes | None:
        """Return what is there of a job, as JSON; None if there is no such job."""
        if job := self._jobs.get(name):
            now = replace(job, rows=dict(job.rows))  # it goes on, and may end, while the thread writes this down
            return await asyncio.to_thread(lambda: encode_json(make_progress(name, now)))
        if not _ID.fullmatch(name):
            return None
        try:
            return await asyncio.to_thread((self._folder / name / ANSWER).read_bytes)
        except OSError:
            return None

    async def delete(self, name: str) -> bool:
        """Interrupt a job and forget it. Return whether there was one."""
        if not _ID.fullmatch(name) or not (self._folder / name).is_dir():
            return False
        job = self._jobs.pop(name, None)
        if job and job.task:
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)
        if job and job.ending:  # else it would write its answer into the folder that is deleted now
            await asyncio.gather(job.ending, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._folder / name, ignore_errors=True)
        return True

    def _measure(self) -> int:
        return sum(found.st_size for path in self._folder.glob("*/*") if (found := _find_stat(path)))

    def _sweep(self) -> None:
        """Delete the answers that are too old, and requests that were not answered for long."""
        kept = {ANSWER: 3600 * self._config.hours, REQUEST: 3600 * self._config.hours + LONGEST_SECONDS}
        for file, seconds in kept.items():
            for path in self._folder.glob(f"*/{file}"):
                running = path.parent.name in self._jobs and file == REQUEST
                if not running and (found := _find_stat(path)) and found.st_mtime < time.time() - seconds:
                    log.info("the job %s is deleted", path.parent.name)
                    shutil.rmtree(path.parent, ignore_errors=True)


def _end(folder: Path, name: str, job: Job) -> None:
    write_atomically(folder / ANSWER, encode_json(make_progress(name, job) | {"state": DONE}))
    (folder / REQUEST).unlink()


def _find_stat(path: Path) -> os.stat_result | None:
    """Return the size and times of a file; None if it was deleted since it was listed."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def list_ids(items: list[ScoreItem]) -> list[str]:
    """Return the id of each item: its own, or its place."""
    return [item.id or str(place) for place, item in enumerate(items)]


def make_progress(name: str, job: Job) -> JobProgress:
    """Return what a client is told. What is not there yet is null."""
    answers: list[NamedAnswer | None] = [
        name_answer(own, job.rows[place]) if place in job.rows else None for place, own in enumerate(job.ids)
    ]
    scored = sum(row["score"] is not None for row in job.rows.values())
    return {
        "id": name,
        "state": job.state,
        "count": len(job.ids),
        "done": len(job.rows),
        "n_ok": scored,
        "n_error": len(job.rows) - scored,
        "items": answers,
    }
