"""Where policy servers listen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyAddress:
    """Where a policy server listens, and how it wants to be asked."""

    host: str
    port: int
    dialect: str = "openpi"
    """A name in `dialects.DIALECTS`."""

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_address(text: str, dialect: str = "openpi") -> PolicyAddress:
    """Read `host:port`, with an IPv6 address in brackets. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    is_bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    is_whole = colon and host and port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535
    if not is_whole or is_bare or not host.isprintable():
        raise ValueError(f"{text!r} is not an address; use one such as 127.0.0.1:8000 or [::1]:8000.")
    return PolicyAddress(host.strip("[]"), int(port), dialect)
