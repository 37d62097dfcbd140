"""Repeat the command that was typed with another target, for messages that say how to go on."""

import io
import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress


class _Argument(str):
    """One argument, an object of its own, so that it is known among equal ones."""

    __slots__ = ()


def retarget(arguments: Sequence[str], wanted: str | None = None) -> str:
    """Return the command of Snakemake that asks for `wanted`, as a shell takes it; None is the whole run.

    `arguments`: those that were typed, without the program. Their targets are left out. `wanted` comes first, because
    options such as `--configfile`, `--config` and `--sdm` take all that follows them.
    """
    typed: list[str] = [_Argument(one) for one in arguments]
    targets = {id(one) for one in _parse_targets(typed)}
    options = typed[: typed.index("--")] if "--" in typed else typed  # what follows are targets
    return shlex.join(["snakemake", *([wanted] if wanted else []), *(one for one in options if id(one) not in targets)])


def _parse_targets(arguments: Sequence[str]) -> list[str]:
    """Return those of these very objects that Snakemake takes for targets; none if this is no command of Snakemake."""
    from snakemake.cli import get_argument_parser  # only here, because no environment of a step has it

    with suppress(SystemExit), redirect_stderr(io.StringIO()):
        return list(get_argument_parser().parse_args(arguments).targets)
    return []
