"""Build tiny, randomly initialised checkpoints for the demo and for tests, without a download.

They have the classes and the file layout of the released models, and about 2 MB. Their outputs are meaningless. Each
folder has a marker (`checkpoints.RANDOM_WEIGHTS_FILE`), by which reports recognise it. So do LoRAs for them.
"""

import importlib
import json
from pathlib import Path

from editlane.core.errors import UnknownName, UserError
from editlane.core.files import make_folder
from editlane.core.shared_folders import build_folder
from editlane.models.checkpoints import RANDOM_WEIGHTS_FILE, fingerprint_model, is_randomly_initialised
from editlane.models.library_logs import quiet_model_libraries
from editlane.models.tiny.loras import save_lora

KINDS = {
    "bria-fibo-edit": "editlane.models.tiny.bria_fibo_edit:save_bria_fibo_edit",
    "chronoedit": "editlane.models.tiny.chronoedit:save_chronoedit",
    "dreamlite": "editlane.models.tiny.dreamlite:save_dreamlite",
    "dreamlite-mobile": "editlane.models.tiny.dreamlite:save_dreamlite_mobile",
    "flux-kontext": "editlane.models.tiny.flux_kontext:save_flux_kontext",
    "flux2-klein": "editlane.models.tiny.flux2_klein:save_flux2_klein",
    "flux2-klein-kv": "editlane.models.tiny.flux2_klein:save_flux2_klein_kv",
    "flux3": "editlane.models.tiny.flux3:save_flux3",
    "gemma4": "editlane.models.tiny.other_vlms:save_gemma4",
    "glm46v": "editlane.models.tiny.other_vlms:save_glm46v",
    "glm4v-moe": "editlane.models.tiny.other_vlms:save_glm4v_moe",
    "instruct-pix2pix": "editlane.models.tiny.instruct_pix2pix:save_instruct_pix2pix",
    "instruct-pix2pix-xl": "editlane.models.tiny.instruct_pix2pix:save_instruct_pix2pix_xl",
    "internvl": "editlane.models.tiny.other_vlms:save_internvl",
    "joyimage-edit": "editlane.models.tiny.joyimage_edit:save_joyimage_edit",
    "joyimage-edit-plus": "editlane.models.tiny.joyimage_edit:save_joyimage_edit_plus",
    "kandinsky5-i2i": "editlane.models.tiny.kandinsky5:save_kandinsky5_i2i",
    "longcat-image-edit": "editlane.models.tiny.longcat_image_edit:save_longcat_image_edit",
    "minicpm-v": "editlane.models.tiny.other_vlms:save_minicpm_v",
    "qwen-image-2.1": "editlane.models.tiny.qwen_image_21:save_qwen_image_21",
    "qwen-image-edit": "editlane.models.tiny.qwen_image_edit:save_qwen_image_edit",
    "qwen-image-edit-2511": "editlane.models.tiny.qwen_image_edit:save_qwen_image_edit_2511",
    "qwen-image-edit-plus": "editlane.models.tiny.qwen_image_edit:save_qwen_image_edit_plus",
    "qwen2.5-vl": "editlane.models.tiny.qwen_vlms:save_qwen2_5_vl",
    "qwen3-vl": "editlane.models.tiny.qwen3_vl:save_qwen3_vl",
    "qwen3-vl-moe": "editlane.models.tiny.qwen3_vl:save_qwen3_vl_moe",
    "qwen3.5": "editlane.models.tiny.qwen_vlms:save_qwen3_5",
    "qwen3.5-moe": "editlane.models.tiny.qwen_vlms:save_qwen3_5_moe",
    "reward-model": "editlane.models.tiny.qwen_vlms:save_reward_model",
    "z-image-omni": "editlane.models.tiny.z_image_omni:save_z_image_omni",
}
"""Kind -> function that saves such a checkpoint into an empty folder."""

BUILT_MODELS = "resources/models/tiny-"
"""Prefix of the models that programs build when a config names them."""

LORA = "lora"
"""The kind that is no checkpoint, but a LoRA for one."""

FILE_LIST = ".editlane_files.json"
"""The sizes of a checkpoint's files, by name, so that a deleted one is noticed. Hidden, so it is no part of keys."""


def build_tiny_model(kind: str, out: Path, *, seed: int = 0, base: Path | None = None) -> None:
    """Build the checkpoint folder `out`, which appears whole. The same kind and seed give the same bytes.

    With the kind `LORA` it is a LoRA for the checkpoint folder `base`. An earlier tiny model at `out` is replaced; who
    has its files open can read on. Raises UnknownName for a kind that is neither this nor in `KINDS`, and UserError if
    `out` holds anything else, or the base is wrong.
    """
    check_place(kind, out, base)
    make_folder(out.parent)
    with build_folder(out) as new:
        _save(kind, new, seed, base)
        (new / RANDOM_WEIGHTS_FILE).write_text(_make_marker(kind, seed, base), encoding="utf-8")
        (new / FILE_LIST).write_text(json.dumps(_list_sizes(new), sort_keys=True), encoding="utf-8")


def check_place(kind: str, out: Path, base: Path | None = None) -> None:
    """Raise like `build_tiny_model`."""
    if kind not in (*KINDS, LORA):
        raise UnknownName("kind of tiny model", kind, [*KINDS, LORA])
    if (kind == LORA) != (base is not None):
        raise UserError(
            f"The kind {LORA!r} is a LoRA for a model, and no other kind is. Give --base with this kind, and "
            "only with it."
        )
    if out.exists() and not (is_randomly_initialised(str(out)) or _is_empty_folder(out)):
        raise UserError(f"{out} exists and is not a tiny model, so it is not overwritten. Choose another --out.")


def is_built(kind: str, out: Path, seed: int, base: Path | None = None) -> bool:
    """Return whether `out` is this checkpoint, with all of its files."""
    marker, wanted = out / RANDOM_WEIGHTS_FILE, _make_marker(kind, seed, base)
    is_this = marker.is_file() and marker.read_text(encoding="utf-8", errors="replace") == wanted
    return is_this and (out / FILE_LIST).is_file() and not is_damaged(out)


def is_damaged(folder: Path) -> bool:
    """Return whether a tiny model lacks some of its files; False if it is none, or one of an older version."""
    try:
        return bool(json.loads((folder / FILE_LIST).read_text(encoding="utf-8")) != _list_sizes(folder))
    except FileNotFoundError:
        return False
    except (ValueError, RecursionError):
        return True


def _list_sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file, by its path in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != FILE_LIST)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _make_marker(kind: str, seed: int, base: Path | None) -> str:
    of = {"base": {"folder": base.resolve().name} | fingerprint_model(str(base), None)} if base else {}
    return json.dumps({"kind": kind, "seed": seed} | of) + "\n"


def _save(kind: str, folder: Path, seed: int, base: Path | None) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if base is not None:
            save_lora(folder, base)
            return
        quiet_model_libraries()
        module, _, function = KINDS[kind].partition(":")
        getattr(importlib.import_module(module), function)(folder)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
