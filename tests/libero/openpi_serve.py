"""Serve a policy whose actions are the state's first number, with openpi's own server. Runs in its environment.

Prints the port. `boom` in the prompt raises; `wait` takes a second.
"""

import socket
import time

import numpy as np
from openpi_server import WebsocketPolicyServer


class Echo:
    def infer(self, observation: dict) -> dict:
        if "boom" in observation["prompt"]:
            raise RuntimeError("boom")
        time.sleep(1.0 if "wait" in observation["prompt"] else 0.01)
        return {"actions": np.full((10, 7), float(observation["observation/state"][0])), "policy_timing": {}}


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    print(port, flush=True)
    WebsocketPolicyServer(Echo(), host="127.0.0.1", port=port, metadata={"env": "LIBERO"}).serve_forever()


if __name__ == "__main__":
    main()
