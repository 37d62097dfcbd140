"""The licences of what Editlane installs by default, and their table in CONTRIBUTING.md."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import pytest
from env_files import ENVS, ROOT, normalize_name, parse_pins, read_pip_section
from packaging.requirements import Requirement

GPL = re.compile(r"\bA?GPL|(?<!Lesser )General Public License", re.IGNORECASE)

CLEARED = {"docutils": "its Emacs mode is under the GPL, and in no wheel"}
"""Distributions that name the GPL, and why they may."""


def read_direct_dependencies() -> list[str]:
    return list(parse_pins((ROOT / "envs/local.txt").read_text(encoding="utf-8").splitlines()))


def walk(requirement: Requirement, found: dict[str, Distribution], seen: set[tuple[str, str]]) -> None:
    """Add the installed distribution and all that it requires. An extra counts only where it is requested."""
    name = normalize_name(requirement.name)
    try:
        found[name] = distribution(name)
    except PackageNotFoundError:  # of another platform
        return
    for extra in {"", *requirement.extras}:
        if (name, extra) not in seen:
            seen.add((name, extra))
            for required in map(Requirement, found[name].requires or []):
                if required.marker is None or required.marker.evaluate({"extra": extra}):
                    walk(required, found, seen)


def read_licence(package: Distribution) -> str:
    """Return what the metadata says, or else how the licence files begin."""
    about = package.metadata
    classifiers = [one for one in about.get_all("Classifier") or [] if one.startswith("License")]
    said = [about["License-Expression"] or "", *classifiers, (about["License"] or "").partition("\n")[0]]
    if not any(said):
        files = [one for one in package.files or [] if re.match(r"(LICEN[CS]E|COPYING)", one.name)]
        said = [" ".join(one.read_text(encoding="utf-8").split())[:100] for one in files]
    return "; ".join(filter(None, said))


@pytest.mark.parametrize(
    ("licence", "is_gpl"),
    [
        ("GPL-3.0-or-later", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("GNU AFFERO GENERAL PUBLIC LICENSE", True),
        ("AGPL-3.0-only", True),
        ("LGPL-2.1-or-later", False),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MPL-2.0 AND MIT", False),
    ],
)
def test_the_gpl_is_told_from_the_lgpl(licence: str, is_gpl: bool) -> None:
    assert bool(GPL.search(licence)) is is_gpl


def test_nothing_that_is_installed_by_default_is_under_the_gpl() -> None:
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    for name in read_direct_dependencies():
        walk(Requirement(name), found, seen)
    licences = {name: read_licence(package) for name, package in found.items()}
    assert {"docutils", "sympy", "conda-inject"} < licences.keys()  # that others bring along
    assert [name for name, licence in licences.items() if not licence] == []
    assert {name: one for name, one in licences.items() if GPL.search(one) and name not in CLEARED} == {}


def test_the_table_of_licences_has_every_direct_dependency() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Licences")[2].partition("## Style")[0]
    rows = re.findall(r"^\| (?!licence)[\w.-]+ \| (.+) \|$", text, re.MULTILINE)
    in_table = [name for row in rows for name in row.split(", ")]
    wanted = {name for env in ENVS for name in parse_pins(read_pip_section(env))} | {*read_direct_dependencies()}
    assert sorted(in_table) == sorted(wanted)
