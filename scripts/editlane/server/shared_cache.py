"""Scores that several servers share through a Redis. One that is slow or gone costs a moment, and no answer."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence

import msgspec

from editlane.core.errors import UserError, one_line
from editlane.core.types import Row
from editlane.server.config import StoreConfig
from editlane.server.wire import check_row

log = logging.getLogger(__name__)

PREFIX = "editlane:score:"

SECONDS = 0.5
"""Longest wait for the Redis."""

REST_SECONDS = 10.0
"""Time without an attempt after a failure."""

KEEP_SECONDS = 30 * 86400
MAX_WAITING = 10_000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict).decode


class SharedCache:
    """The scores of all servers that use the same Redis, by their journal keys."""

    def __init__(self, config: StoreConfig, on_error: Callable[[], None]) -> None:
        """Connect at the first use. Raises UserError without the package."""
        try:
            from redis.asyncio import Redis
            from redis.exceptions import RedisError
        except ModuleNotFoundError as error:
            raise UserError("config: store.redis needs the package redis: pip install redis") from error
        password = os.environ.get(config.redis_password_env) if config.redis_password_env else None
        self._redis = Redis.from_url(
            config.redis or "", password=password, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
        )
        self._errors = (RedisError, OSError, TimeoutError)
        self._on_error, self._rest_until = on_error, 0.0
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MAX_WAITING)

    async def find(self, keys: Sequence[str]) -> dict[str, Row]:
        """Return the rows that are known. What is damaged there is not."""
        if not keys or time.monotonic() < self._rest_until:
            return {}
        try:
            async with asyncio.timeout(SECONDS):
                contents = await self._redis.mget([PREFIX + key for key in keys])
        except self._errors as error:
            self._rest(error)
            return {}
        pairs = zip(keys, contents, strict=True)
        return {key: row for key, content in pairs if content is not None and (row := _read(content)) is not None}

    def keep(self, key: str, row: Row) -> None:
        """Pass a row on soon. While the Redis is gone, rows are dropped: the server's own store has them."""
        if time.monotonic() >= self._rest_until and not self._waiting.full():
            self._waiting.put_nowait((key, _encode(row)))

    async def run(self) -> None:
        """Pass rows on. Ends only when the task is cancelled."""
        while True:
            key, content = await self._waiting.get()
            try:
                async with asyncio.timeout(SECONDS):
                    await self._redis.set(PREFIX + key, content, ex=KEEP_SECONDS)
            except self._errors as error:
                self._rest(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _rest(self, error: Exception) -> None:
        if time.monotonic() > self._rest_until + REST_SECONDS:
            log.warning("the shared cache does not answer (%s); scores come from here alone", one_line(error))
        self._rest_until = time.monotonic() + REST_SECONDS
        self._on_error()


def _read(content: bytes | str) -> Row | None:
    try:
        return check_row(_decode(content))
    except (msgspec.DecodeError, ValueError):
        return None
