"""Run a server: its folder, its lock, its socket, its process."""

import fcntl
import logging
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import uvicorn
from starlette.applications import Starlette

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.locks import check_links, open_lock
from editlane.core.paths import SERVERS, server_lock
from editlane.core.tokens import read_token
from editlane.server.app import DrainingServer, make_app
from editlane.server.config import RewardConfig
from editlane.server.front import Front
from editlane.server.reward_front import RewardFront
from editlane.server.service import RewardService

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep a connection, so that the client closes it and no request is lost."""

BACKLOG = 512


class Listening(Protocol):
    """The part of a server's config that says where it keeps its things and where it listens."""

    server: str
    host: str
    port: int
    token_env: str | None


def serve(config: RewardConfig) -> None:
    """Serve rewards for edits until the process is told to end. Raises UserError."""

    def make(folder: Path, token: str) -> tuple[Front, Starlette]:
        front = RewardFront(RewardService(config, folder), token)
        return front, make_app(front)

    run_server(config, config.limits.drain_seconds, make)


def run_server(config: Listening, drain_seconds: float, make: Callable[[Path, str], tuple[Front, Starlette]]) -> None:
    """Serve what `make` returns for the server's folder and its token, until the process is told to end.

    Raises UserError.
    """
    token = read_token(config.token_env, config.host)
    folder = SERVERS / config.server
    make_folder(folder)
    check_links(folder)
    lock = _lock(folder)
    listening = _listen(config.host, config.port)
    _raise_file_limit()
    front, app = make(folder, token)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        backlog=BACKLOG,
    )
    host, port = listening.getsockname()[:2]
    print(f"Open http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
    server = DrainingServer(settings, front, drain_seconds)
    server.run([listening])
    os.close(lock)
    if front.fatal:
        raise UserError(front.fatal)


def _lock(folder: Path) -> int:
    """Take the lock of the server's folder: two servers would write one journal. Raises UserError."""
    handle = open_lock(str(server_lock(folder)), otherwise="choose another `server:`")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UserError(
            f"Another server uses {folder}. End it (kill -TERM), or choose another `server:` in the config."
        ) from error
    except OSError:
        log.warning("%s is on a disk without file locks; make sure that only one server uses it", folder)
    return handle


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket before any model is loaded. Raises UserError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)  # who reads the printed address can connect at once
    except OSError as error:
        raise UserError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Choose another `port:`; 0 is any free "
            "one."
        ) from error
    return listening


def _raise_file_limit() -> None:
    """Allow as many open files as the system does: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))
