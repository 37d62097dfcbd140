"""Which ports of this machine are free."""

import socket

from editlane.core.errors import UserError


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return False
    return True


def check_free(host: str, port: int, whose: str) -> None:
    """Raise UserError for a port that another program has, or that does not exist."""
    if not 0 < port < 65536:
        raise UserError(f"config: {whose} would need port {port}, which there is not.")
    if not is_free(host, port):
        raise UserError(
            f"Port {port} is wanted for {whose}, but another program has it, or {host} is no address of this machine. "
            f"See `ss -ltnp sport = :{port}`; free it, or choose another."
        )
