"""The model pi0 of transformers with a checkpoint, normalised by the statistics that the checkpoint brings.

Statistics are never guessed: with others, a policy moves smoothly to the wrong places.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from editlane.core.errors import UserError, one_line
from editlane.core.files import check_regular
from editlane.models.checkpoints import find_problem, fingerprint_model
from editlane.robots.dialects import Observation
from editlane.robots.replies import LEAST_COLUMNS
from editlane.robots.tiny_pi0 import SIDE, read_pictures, sample

PROCESSOR = "processor_config.json"
"""Of transformers: has `state_mean`, `state_std`, `actions_mean` and `actions_std`."""
BEFORE, AFTER = "policy_preprocessor.json", "policy_postprocessor.json"
"""Of LeRobot: list what is done before and after the model; the statistics lie in files of tensors beside them."""
OPENPI = "norm_stats.json"
SMALLEST = 1e-8
"""What transformers and LeRobot add to a deviation, and take for a range that is zero."""
RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
"""LeRobot's ways to map a range to -1 ... 1, and the statistics that they use."""
KNOWN_STEPS = {
    "rename_observations_processor",
    "to_batch_processor",
    "pi0_new_line_processor",
    "tokenizer_processor",
    "device_processor",
    "normalizer_processor",
    "unnormalizer_processor",
}
"""Steps of LeRobot that are done here, or that nothing is left of for one observation."""

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Scale:
    """How numbers of a robot become those of a model, and back."""

    shift: Numbers
    divisor: Numbers
    factor: Numbers

    def normalize(self, values: Any) -> Any:
        """Return what the model takes. Raises ValueError for another number of values than there are statistics."""
        if np.shape(values)[-1] != len(self.shift):
            raise ValueError(f"there are {np.shape(values)[-1]} numbers, but the checkpoint has {len(self.shift)}")
        return (np.asarray(values, np.float64) - self.shift) / self.divisor

    def restore(self, values: Any) -> Any:
        """Return what the robot takes, float64; columns beyond the statistics are padding."""
        return np.asarray(values, np.float64)[..., : len(self.shift)] * self.factor + self.shift


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of a checkpoint."""

    source: str
    """The file that they are from."""
    state: Scale
    actions: Scale


class TransformersPi0:
    """Act on two pictures, the state and the prompt, in the same way for the same observation and seed.

    Pictures are those of LIBERO at 224 x 224: the first camera, then that of the wrist.
    """

    def __init__(self, checkpoint: Path, seed: int) -> None:
        """Load it, onto a GPU if there is one. Raises UserError."""
        _check(checkpoint)
        self._statistics = read_statistics(checkpoint)
        self._seed = seed
        self._model, self._tokenizer = _load(checkpoint)
        self.metadata = {
            "policy": "transformers-pi0",
            "checkpoint": checkpoint.absolute().name,
            "fingerprint": str(fingerprint_model(str(checkpoint.absolute()), None)["sha256"])[:12],
            "statistics": self._statistics.source,
            "seed": seed,
            "action_dim": len(self._statistics.actions.shift),
            "action_horizon": self._model.config.chunk_size,
        }

    def infer(self, observation: Observation) -> dict[str, Any]:
        """Return `actions`, float32 [steps, columns]. Raises ValueError for pictures or a state of another shape."""
        # As PI0Processor writes a prompt after the tokens of the pictures.
        text = f"{self._tokenizer.bos_token}{observation['prompt']}\n"
        words = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        state = self._statistics.state.normalize(observation["observation/state"]).astype(np.float32)
        raw = sample(self._model, read_pictures(observation), list(words), state, self._seed)
        return {"actions": self._statistics.actions.restore(raw).astype(np.float32)}


def _check(checkpoint: Path) -> None:
    """Raise UserError for what is no checkpoint of pi0 with safetensors."""
    if not checkpoint.is_dir():
        raise UserError(f"--checkpoint {checkpoint} is no folder. Name the folder of a checkpoint of pi0.")
    problem = find_problem(checkpoint)
    if problem is None and not any(checkpoint.glob("*.safetensors")):
        problem = "its weights are no safetensors"
    if problem is not None:
        raise UserError(f"--checkpoint {checkpoint} cannot be loaded: {problem}. Copy or download it again.")
    config = _read_json(checkpoint / "config.json")
    found = config.get("model_type", config.get("type"))
    if found != "pi0":
        raise UserError(
            f"--checkpoint {checkpoint} is of the type {found!r}, and only pi0 is served here. Serve others with their "
            "own servers; `policy: start: command:` of the config starts any."
        )


def _load(checkpoint: Path) -> tuple[Any, Any]:
    """Return the model and the tokenizer. Raises UserError."""
    import torch
    from transformers import AutoTokenizer, PI0ForConditionalGeneration

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"--checkpoint {checkpoint} has no tokenizer: {one_line(error)} Copy the tokenizer's files of "
            "google/paligemma-3b-pt-224 into the folder."
        ) from error
    if not isinstance(tokenizer.bos_token, str):
        raise UserError(
            f"The tokenizer of --checkpoint {checkpoint} has no `bos_token`, with which every prompt begins."
        )
    try:
        model, told = PI0ForConditionalGeneration.from_pretrained(
            checkpoint,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"--checkpoint {checkpoint} cannot be loaded: {one_line(error)}") from error
    lacking = sorted(told["missing_keys"])
    if lacking:
        raise UserError(
            f"--checkpoint {checkpoint} lacks {len(lacking)} weights, such as {lacking[0]}, which would be random. "
            "Take a whole checkpoint, and no adapter."
        )
    side = model.config.vlm_config.vision_config.image_size
    if side != SIDE:
        raise UserError(f"--checkpoint {checkpoint} looks at pictures of {side} pixels, and here they have {SIDE}.")
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def read_statistics(checkpoint: Path) -> Statistics:
    """Return the statistics with which a checkpoint was trained. Raises UserError if it has none, or several."""
    processor = _read_json(checkpoint / PROCESSOR) if (checkpoint / PROCESSOR).exists() else {}
    is_transformers = any(processor.get(f"{name}_mean") is not None for name in ("state", "actions"))
    is_lerobot = (checkpoint / BEFORE).exists() or (checkpoint / AFTER).exists()
    if is_transformers and is_lerobot:
        raise UserError(f"{checkpoint} has statistics in {PROCESSOR} and beside {BEFORE}. Remove those of another one.")
    if is_transformers:
        found = _read_transformers(checkpoint / PROCESSOR, processor)
    elif is_lerobot:
        found = _read_lerobot(checkpoint)
    else:
        raise UserError(_explain_missing(checkpoint))
    columns = len(found.actions.shift)
    if columns < LEAST_COLUMNS:
        raise UserError(
            f"{checkpoint} has statistics of {columns} numbers of an action; a robot takes {LEAST_COLUMNS}."
        )
    return found


def _explain_missing(checkpoint: Path) -> str:
    said = (
        f"{checkpoint} has no statistics of its states and actions, without which its actions mean nothing. They are "
        f"expected in {PROCESSOR} of transformers (`state_mean` ...), or beside {BEFORE} and {AFTER} of LeRobot."
    )
    if next(checkpoint.rglob(OPENPI), None) is None:
        return said
    return (
        f"{said} Its {OPENPI} of openpi does not suffice: only openpi's training config tells whether its actions are "
        "relative to the state. Serve such a checkpoint with openpi's own server."
    )


def _read_transformers(path: Path, processor: dict[str, Any]) -> Statistics:
    """Return the statistics of PI0Processor. Raises UserError, also for pictures that it wants otherwise."""
    pictures = processor.get("image_processor") or {}
    for name in ("image_mean", "image_std"):
        if pictures.get(name, [0.5] * 3) != [0.5] * 3:
            raise UserError(f"{path}: `{name}` is {pictures[name]}, and pictures are scaled with 0.5 here, as for pi0.")
    scales = [
        _make_scale(
            path, name, "MEAN_STD", {"mean": processor.get(f"{name}_mean"), "std": processor.get(f"{name}_std")}
        )
        for name in ("state", "actions")
    ]
    return Statistics(path.name, *scales)


def _read_lerobot(checkpoint: Path) -> Statistics:
    """Return the statistics of LeRobot's steps before and after the model. Raises UserError."""
    scales = []
    for file, step, feature, kind in (
        (BEFORE, "normalizer_processor", "observation.state", "STATE"),
        (AFTER, "unnormalizer_processor", "action", "ACTION"),
    ):
        path = checkpoint / file
        one = _find_step(path, step)
        how = one.get("config", {}).get("norm_map", {}).get(kind, "IDENTITY")
        tensors = _read_tensors(checkpoint / Path(str(one.get("state_file"))).name)
        own = {name.rpartition(".")[2]: value for name, value in tensors.items() if name.rpartition(".")[0] == feature}
        scales.append(_make_scale(path, feature, how, own))
    return Statistics(BEFORE, *scales)


def _find_step(path: Path, wanted: str) -> dict[str, Any]:
    """Return a step of LeRobot's. Raises UserError if there is not one, or another one that is not known here."""
    listed = _read_json(path).get("steps") if path.exists() else []
    steps: list[dict[str, Any]] = [step for step in listed or [] if isinstance(step, dict)]
    for step in steps:
        name, is_off = step.get("registry_name", step.get("class")), step.get("config", {}).get("enabled") is False
        if name not in KNOWN_STEPS and not is_off:
            raise UserError(
                f"{path} has the step {name!r}, which is not known here, so that actions would be others. Serve this "
                "checkpoint with LeRobot's own server."
            )
    found = [step for step in steps if step.get("registry_name") == wanted]
    if len(found) != 1:
        raise UserError(f"{path} has {len(found)} steps {wanted!r}, and one is needed for the checkpoint's statistics.")
    return found[0]


def _read_tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    check_regular(path)
    try:
        tensors: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}, which has the checkpoint's statistics, cannot be read: {one_line(error)}") from error
    return tensors


def _make_scale(path: Path, name: str, how: str, told: dict[str, Any]) -> Scale:
    """Return how a feature is scaled. Raises UserError for one that is not, or by numbers that are missing or wrong."""
    names = ("mean", "std") if how == "MEAN_STD" else RANGES.get(how)
    if names is None:
        raise UserError(f"{path} scales `{name}` by {how!r}, so that it has no statistics, or unknown ones.")
    try:
        first, second = (np.asarray(told[one], np.float64) for one in names)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} has no `{names[0]}` and `{names[1]}` of `{name}`, or they are no numbers.") from None
    if first.ndim != 1 or first.shape != second.shape or not np.isfinite([first, second]).all():
        raise UserError(f"{path}: `{names[0]}` and `{names[1]}` of `{name}` are not finite, or of two lengths.")
    if how == "MEAN_STD":
        return Scale(first, second + SMALLEST, second)
    half = np.where(second == first, SMALLEST, second - first) / 2
    return Scale(first + half, half, half)


def _read_json(path: Path) -> dict[str, Any]:
    check_regular(path)
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}. Copy or download the checkpoint again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object. Copy or download the checkpoint again.")
    return content
