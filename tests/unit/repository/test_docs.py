"""The manual: every link and every path in it resolves, and its commands are those that they look like."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).parents[3]
PAGES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT, check=True, capture_output=True, text=True,
).stdout.split("\n")[:-1]  # fmt: skip
MANUAL = ["README.md", "CONTRIBUTING.md", *sorted(name for name in PAGES if name.startswith("config/"))]

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
TOP = ("config", "envs", "resources", "scripts", "tests", "workflow")
MADE = ("resources/demo/photos", "resources/canary/pictures", "resources/models/")
"""Written by the workflow."""
EXAMPLES = {
    *("config/mine.yaml", "envs/edit.linux-64.pin.txt"),
    *("scripts/editlane/editors/mirror.py", "scripts/editlane/judges/coin.py"),
}
"""Files that the text tells the reader to write, or not to write."""
PACKAGE = ROOT / "scripts/editlane"


def prose(name: str) -> str:
    return FENCE.sub("", (ROOT / name).read_text(encoding="utf-8"))


def anchor(heading: str) -> str:
    """Name a heading as GitHub does."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> list[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, part = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (part and part not in anchors(target)):
            broken.append(link)
    return broken


def missing_paths(page: Path, text: str) -> list[str]:
    """Find paths in backticks that do not exist. They begin at the root or at the page; in CONTRIBUTING.md also at the
    package."""
    inside = page.name == "CONTRIBUTING.md"
    rooms = [path.name for path in PACKAGE.iterdir() if inside and path.is_dir()]
    missing = []
    for word in (word for code in CODE.findall(text) for word in code.split()):
        path = word.strip(",;:()").removeprefix("./")
        is_path = path.split("/")[0] in (*TOP, *rooms) and "/" in path
        if not is_path or path.startswith(MADE) or path in EXAMPLES or re.search(r"[<{]", path):
            continue
        if not any(list(folder.glob(path)) for folder in (ROOT, page.parent, *[PACKAGE] * inside)):
            missing.append(path)
    return missing


def tree_paths(text: str) -> list[str]:
    """List the paths of the tree in CONTRIBUTING.md: an indented name lies in the folder above it."""
    tree = text.split("## Where things are\n\n```\n")[1].split("```")[0]
    paths, parents = [], [""]
    for line in tree.splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        paths += [f"{parents[indent]}{name}" for name in names if " " not in name]
        if indent == 0:
            parents = ["", names[0]]
        elif names[0].endswith("/"):
            parents = [*parents[: indent + 1], f"{parents[indent]}{names[0]}"]
    return paths


def wrong_commands(text: str) -> list[str]:
    """Find commands of Snakemake that name a rule, but not as their target: an option took the word."""
    rules = {
        name for file in ROOT.glob("workflow/**/*.smk") for name in re.findall(r"(?:rule|as) (\w+)", file.read_text())
    }
    text = text.replace("\\\n", " ")
    wrong = []
    for command in re.findall(r"^snakemake .*$", text, re.MULTILINE) + re.findall(r"`(snakemake [^`]*)`", text):
        words = [word for word in shlex.split(command, comments=True)[1:] if word not in ("...", "…")]
        known, unknown = get_argument_parser().parse_known_args(words)
        named = [word for word in words if word in rules and word not in (known.forcerun or ())]
        if list(known.targets) != named or unknown or len(known.configfile or [0]) != 1:
            wrong.append(command)
    return wrong


def test_the_checks_find_what_is_broken(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One & two\n```\n# three\n```\n", encoding="utf-8")
    text = "[a](page.md#one--two) [b](page.md#three) [c](none.md) [d](https://example.org/none) [e](#one--two)"
    assert broken_links(page, text) == ["page.md#three", "none.md"]
    code = "`scripts/none.py` `python scripts/gpulease.py --show` `tests/none/*.py` `envs/*.yaml` `results/<run>/none`"
    assert missing_paths(page, code) == ["scripts/none.py", "tests/none/*.py"]
    swallowed = "snakemake --configfile my.yaml partial_report"
    code = f"`snakemake partial_report -c 4`\n{swallowed}\n`snakemake --config\nlimit=1 --forcerun edit_lane`"
    assert wrong_commands(code) == [swallowed]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_resolves(name: str) -> None:
    assert broken_links(ROOT / name, prose(name)) == []


@pytest.mark.parametrize("name", MANUAL)
def test_every_path_in_the_manual_exists(name: str) -> None:
    assert missing_paths(ROOT / name, prose(name)) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_command_asks_for_the_target_that_it_names(name: str) -> None:
    assert wrong_commands((ROOT / name).read_text(encoding="utf-8")) == []


def test_the_tree_in_contributing_is_the_packages() -> None:
    paths = tree_paths((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert {path.split("/")[2] for path in paths if path.startswith("scripts/editlane/") and path[17:]} == rooms


def test_contributing_lists_every_program() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("### Programs in scripts/\n")[1].split("\n#")[0]
    assert sorted(re.findall(r"`(\w+\.py)`", text)) == sorted(path.name for path in (ROOT / "scripts").glob("*.py"))
