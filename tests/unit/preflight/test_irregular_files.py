"""A pipe, a socket or a device in the place of a file that a user names: told at once, and never waited for."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from preflight_project import ROOT, fake_config, write_project

from editlane.core.errors import UserError
from editlane.core.files import check_regular
from editlane.core.tables import read_rows
from editlane.datasets.files import read_records
from editlane.models.checkpoints import find_safetensors_problem, fingerprint_file, read_components
from editlane.preflight.config import check_config, check_config_file, read_config
from editlane.protocols.load import load_protocol
from editlane.ratings.tables import read_ratings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder: a dataset, a config, and one file of each kind that is none."""
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    Path("good.yaml").write_text(yaml.safe_dump(fake_config(), allow_unicode=True), encoding="utf-8")
    for suffix in ("yaml", "jsonl", "csv", "parquet", "safetensors"):
        os.mkfifo(f"pipe.{suffix}")
        Path(f"device.{suffix}").symlink_to("/dev/null")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"socket.{suffix}")


CHECK, INIT = "check_setup.py --configfile", "init_config.py --dataset"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (f"{CHECK} pipe.yaml", "pipe.yaml is a pipe"),
        (f"{CHECK} <(cat good.yaml)", "/dev/fd/63 is a pipe"),
        (f"{INIT} pipe.csv", "pipe.csv is a pipe"),
        ("compare_ratings.py --scores pipe.parquet --ratings pipe.csv", "pipe.csv is a pipe"),
    ],
)
def test_a_program_ends_with_one_paragraph(command: str, kind: str) -> None:
    program, rest = command.split(" ", 1)
    words = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'scripts' / program))} {rest}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    wanted = f"error: {kind}, and only regular files are read. Write its content to a file and name that.\n"
    assert (done.returncode, done.stderr) == (2, wanted)


READ = {
    "a config": (read_config, "yaml"),
    "a config that Snakemake has read": (check_config_file, "yaml"),
    "a protocol": (load_protocol, "yaml"),
    "a dataset": (lambda path: list(read_records(path, "items")), "jsonl"),
    "ratings": (lambda path: read_ratings([path]), "csv"),
    "a table": (read_rows, "parquet"),
    "weights": (find_safetensors_problem, "safetensors"),
    "a LoRA": (fingerprint_file, "safetensors"),
}


@pytest.mark.parametrize("what", READ)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_none_of_them_is_opened(what: str, kind: str) -> None:
    read, suffix = READ[what]
    with pytest.raises(UserError, match=rf"^{kind}.{suffix} is a {kind}, and only regular files are read"):
        read(Path(f"{kind}.{suffix}"))


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_a_config_names_the_part_that_has_one(kind: str) -> None:
    config = fake_config(judges={"j": {"adapter": "fake", "protocol": f"{kind}.yaml"}})
    with pytest.raises(UserError, match=rf"^config: judges\.j: {kind}\.yaml is a {kind}, and only"):
        check_config(config)
    with pytest.raises(UserError, match=rf"^config: dataset\.path: {kind}\.jsonl is a {kind}, and only"):
        check_config(fake_config(dataset={"path": f"{kind}.jsonl", "categories": ["物理"]}))


def test_an_index_of_a_checkpoint_is_not_waited_for() -> None:
    Path("model").mkdir()
    os.mkfifo("model/model_index.json")
    with pytest.raises(UserError, match=r"model/model_index\.json is a pipe"):
        list(read_components(Path("model")))


def test_what_is_not_there_and_folders_are_left_to_the_reader(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "good.yaml", tmp_path / ("x" * 300)):
        check_regular(path)
