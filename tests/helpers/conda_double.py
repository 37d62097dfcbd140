"""Stand in for conda, as far as Snakemake uses it, with a real solver (py-rattler).

Environments are created from channels in folders (`file://`). Instead of running pip, the double links packages of the
tests' own Python: those that a pip section names and their requirements, nothing else.
"""

import asyncio
import hashlib
import io
import json
import shlex
import sys
import tarfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def install_conda(root: Path) -> Path:
    """Install the double and return the folder to put on PATH."""
    programs = root / "bin"
    programs.mkdir(parents=True)
    (programs / "conda").write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__, str(root)])} "$@"\n')
    (programs / "conda").chmod(0o755)
    (programs / "activate").write_text('export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    return programs


def make_channel(folder: Path, packages: dict[tuple[str, str], dict[str, bytes | Path]]) -> str:
    """Make a channel of (name, version) -> files by path, where a Path becomes a link, and return its URL."""
    records = {}
    (folder / "linux-64").mkdir(parents=True)
    for (name, version), files in packages.items():
        index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": [], "subdir": "linux-64"}
        archive = folder / "linux-64" / f"{name}-{version}-0.tar.bz2"
        _pack(archive, index, files)
        data = archive.read_bytes()
        sums = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        records[archive.name] = index | sums
    for subdir, found in (("linux-64", records), ("noarch", {})):
        (folder / subdir).mkdir(exist_ok=True)
        repodata = {"info": {"subdir": subdir}, "packages": found, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(repodata))
    return folder.as_uri()


def _pack(archive: Path, index: dict[str, Any], files: dict[str, bytes | Path]) -> None:
    listed = [_path_record(path, content) for path, content in files.items()]
    with tarfile.open(archive, "w:bz2") as tar:
        _add(tar, "info/index.json", json.dumps(index).encode())
        _add(tar, "info/paths.json", json.dumps({"paths_version": 1, "paths": listed}).encode())
        _add(tar, "info/files", "\n".join(files).encode())
        for path, content in files.items():
            _add(tar, path, content)


def _path_record(path: str, content: bytes | Path) -> dict[str, Any]:
    if isinstance(content, Path):
        return {"_path": path, "path_type": "softlink"}
    digest = hashlib.sha256(content).hexdigest()
    return {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(content)}


def _add(tar: tarfile.TarFile, path: str, content: bytes | Path) -> None:
    member = tarfile.TarInfo(path)
    if isinstance(content, Path):
        member.type, member.linkname = tarfile.SYMTYPE, str(content)
        tar.addfile(member)
    else:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def create(root: Path, file: Path, prefix: Path) -> None:
    """Create an environment, as `conda env create` does."""
    env = yaml.safe_load(file.read_text())
    specs = [part for part in env["dependencies"] if isinstance(part, str)]
    asyncio.run(_solve_and_install(root, env["channels"], specs, prefix))
    for part in env["dependencies"]:
        if isinstance(part, dict):
            link(part["pip"], prefix / SITE)


async def _solve_and_install(root: Path, channels: list[str], specs: list[str], prefix: Path) -> None:
    from rattler import VirtualPackage, install, solve

    platforms: Any = ["linux-64", "noarch"]
    records = await solve(channels, specs, platforms=platforms, virtual_packages=VirtualPackage.detect())
    await install(records, prefix, cache_dir=root / "pkgs", show_progress=False)


def link(requirements: Iterable[str], site: Path) -> None:
    """Link the packages that `pip install` would install. Exits if the installed version does not match."""
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        wanted = waiting.pop()
        if (wanted.name.lower(), *wanted.extras) in seen:
            continue
        seen.add((wanted.name.lower(), *wanted.extras))
        found = distribution(wanted.name)
        if not wanted.specifier.contains(found.version, prereleases=True):
            sys.exit(f"the double cannot install {wanted}: {found.version} is what the tests' Python has")
        _link_files(found, site)
        extras = wanted.extras or {""}
        behind = [Requirement(text) for text in found.requires or ()]
        waiting += [
            other for other in behind if not other.marker or any(other.marker.evaluate({"extra": e}) for e in extras)
        ]


def _link_files(found: Distribution, site: Path) -> None:
    site.mkdir(parents=True, exist_ok=True)
    for top in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(found.locate_file(top))


def main(root: Path, arguments: list[str]) -> None:
    def option(name: str) -> Path:
        return Path(arguments[arguments.index(name) + 1])

    match arguments:
        case ["--version"]:
            print("conda 24.11.3")
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(root), "platform": "linux-64", "envs_dirs": []}))
        case ["config", "--get", *_]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *_]:
            create(root, option("--file"), option("--prefix"))
        case ["clean", *_]:
            pass
        case _:
            sys.exit(f"the double cannot: conda {shlex.join(arguments)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
