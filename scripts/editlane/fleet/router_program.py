"""Run vllm-router so that it asks every request for the token, those that change its servers included.

    python -P router_program.py URL,URL -- FLAG ...

vllm-router 0.1.17 checks a token by asking a URL, and remembers what it learned. No flag of its own sets that. Without
it everybody who reaches the port can add a server, which then gets the requests of others, token and all. The URLs are
those of model servers, which know the token. Imports nothing of Editlane, because it is not run as a part of it.
"""

import sys

from vllm_router.launch_router import launch_router, parse_router_args


def main() -> None:
    args = parse_router_args(sys.argv[3:])
    args.api_key_validation_urls = sys.argv[1].split(",")
    launch_router(args)


if __name__ == "__main__":
    main()
