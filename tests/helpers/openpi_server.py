"""A policy server that infers in its event loop, as openpi's own does: nothing else is answered meanwhile.

It infers until there is a file `answer` in its folder.

    python openpi_server.py PORT
"""

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from editlane.robots.wire import pack, unpack


async def answer(client: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        await client.send(pack({"policy": "openpi"}))
        while True:
            observation = unpack(await client.recv())
            Path("asked").touch()
            while not Path("answer").exists():
                time.sleep(0.02)
            await client.send(pack({"actions": np.ones((5, 7)), "state": observation["observation/state"]}))


async def main() -> None:
    async with serve(answer, "127.0.0.1", int(sys.argv[1]), compression=None, max_size=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
