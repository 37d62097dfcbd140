"""Ask a policy server with openpi's own client. Runs in the environment of openpi-client, and prints JSON."""

import json
import sys

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

STATE = [0.0, 0.5, 0.1, 0.25, -0.25, 0.1, 0.0, 0.0]


def main(port: int) -> None:
    client = WebsocketClientPolicy("127.0.0.1", port)
    picture = np.zeros((224, 224, 3), np.uint8)
    observation = {
        "observation/image": picture,
        "observation/wrist_image": picture,
        "observation/state": np.array(STATE),
        "prompt": "move to the red goal",
    }
    told = {"metadata": client.get_server_metadata(), "replies": []}
    for _ in range(2):
        reply = client.infer(observation)
        actions = reply["actions"]
        shown = {"shape": actions.shape, "dtype": str(actions.dtype), "first": actions[0].tolist()}
        told["replies"].append(shown | {"keys": sorted(reply), "timing": sorted(reply["server_timing"])})
    told["error"] = find_error(client, {"prompt": "x"})
    told["afterwards"] = find_error(client, observation)
    client = WebsocketClientPolicy("127.0.0.1", port)
    told["connected again"] = client.infer(observation)["actions"][0].tolist()
    print(json.dumps(told))


def find_error(client: WebsocketClientPolicy, observation: dict) -> str:
    try:
        client.infer(observation)
    except Exception as error:  # noqa: BLE001 - whatever the client makes of it
        return f"{type(error).__name__}: {error}"
    return "none"


if __name__ == "__main__":
    main(int(sys.argv[1]))
