"""Read the token that a server asks of every request."""

import os

from editlane.core.errors import UserError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that only this machine can reach."""


def read_token(variable: str | None, host: str) -> str:
    """Return the token in an environment variable; "" if there is none, which only a server on this machine may do
    without.

    Raises UserError.
    """
    token = os.environ.get(variable, "").strip() if variable else ""  # a file's last line break is no part of it
    if variable and (len(token) < 16 or not (token.isascii() and token.isprintable())):
        raise UserError(
            f"The environment variable {variable} holds no token of 16 characters or more. Make one: "
            f'export {variable}="$(python -c "import secrets; print(secrets.token_urlsafe(32))")"'
        )
    if not token and host not in LOOPBACK:
        raise UserError(
            f"config: host is {host}, so that others can reach the server, but there is no token. Set "
            "`token_env:` to the name of a variable that holds one, or leave `host` out."
        )
    return token
