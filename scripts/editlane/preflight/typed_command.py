"""Repeat the command that was typed with another target, for messages that say how to go on."""

import shlex
from collections.abc import Collection, Sequence


def retarget(arguments: Sequence[str], targets: Collection[str], wanted: str | None = None) -> str:
    """Return the command of Snakemake that asks for `wanted`, as a shell takes it; None is the whole run.

    `arguments`: those that were typed, without the program. `targets`: what of them Snakemake took for targets.
    """
    kept = [one for one in arguments if one not in targets]
    return shlex.join(["snakemake", *kept, *([wanted] if wanted else [])])
