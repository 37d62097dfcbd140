"""Read the head of a reward model from safetensors, without code of its own: linear layers with ReLU between them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from editlane.core.errors import UserError
from editlane.models.checkpoints import read_safetensors_header

if TYPE_CHECKING:
    import torch


class Head:
    """Turns a hidden state into the numbers of a reward head, in float32."""

    def __init__(self, layers: "Sequence[tuple[torch.Tensor, torch.Tensor | None]]") -> None:
        """Take the weight (out, in) and the bias (out,) of each linear layer, on the device where they are used."""
        self.layers = layers

    @property
    def hidden_size(self) -> int:
        """Size of the hidden state."""
        return int(self.layers[0][0].shape[1])

    @property
    def outputs(self) -> int:
        """Numbers that the last layer gives."""
        return int(self.layers[-1][0].shape[0])

    def __call__(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Return (rows, outputs) for hidden states (rows, hidden size)."""
        import torch

        found = hidden.float()
        for number, (weight, bias) in enumerate(self.layers):
            found = torch.nn.functional.linear(found.relu() if number else found, weight, bias)
        return found


BACKBONE = frozenset(
    {"model", "visual", "lm_head", "language_model", "vision_tower", "multi_modal_projector", "vision_model", "mlp1"}
)
"""First parts of the names of weights that are those of a chat VLM."""


def read_head(files: Sequence[Path], name: str, device: str) -> Head:
    """Read the head `name`: one layer, as `score.weight`, or several, as `rm_head.0.weight` and `rm_head.3.weight`.

    The numbers of layers are those of a torch Sequential; what lies between two of them is a ReLU, and a dropout that
    does nothing here. Raises UserError if no file has the head, or if its layers do not fit together.
    """
    places = {tensor: path for path in files for tensor in read_safetensors_header(path)[1]}
    weights = sorted(
        (one for one in places if one.startswith(f"{name}.") and one.endswith("weight")), key=_number_of_layer
    )
    if not weights:
        candidates = _list_candidates(places)
        remedy = (
            f"Set `head` in `params` to the name of one that is there: {candidates}."
            if candidates
            else "No weights there look like a head. Name the file of one in `head_file`, or use `adapter: vlm` for a "
            "chat model."
        )
        raise UserError(
            f"There are no weights of a head {name!r} in {', '.join(path.name for path in files) or 'the checkpoint'}. "
            + remedy
        )

    biases = [one.removesuffix("weight") + "bias" for one in weights]
    layers = [
        (_read_tensor(places[one], one, device), _read_tensor(places[bias], bias, device) if bias in places else None)
        for one, bias in zip(weights, biases, strict=True)
    ]
    _check_layers(name, [tuple(weight.shape) for weight, _ in layers])
    return Head(layers)


def _read_tensor(path: Path, name: str, device: str) -> "torch.Tensor":
    """Read a tensor of a safetensors file as float32. Raises UserError for whole or quantised numbers."""
    import torch

    size, header = read_safetensors_header(path)
    dtype = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(header[name]["dtype"])
    if dtype is None:
        raise UserError(
            f"The head's weight {name} in {path.name} has the type {header[name]['dtype']}; use F32 or BF16."
        )
    begin, end = header[name]["data_offsets"]
    with path.open("rb") as file:
        file.seek(8 + size + begin)
        content = bytearray(file.read(end - begin))
    flat = torch.frombuffer(content, dtype=getattr(torch, dtype))
    return flat.reshape(header[name]["shape"]).float().to(device)


def _number_of_layer(tensor: str) -> int:
    return next((int(part) for part in reversed(tensor.split(".")) if part.isdigit()), 0)


def _check_layers(name: str, shapes: Sequence[tuple[int, ...]]) -> None:
    fit = all(len(one) == 2 for one in shapes) and all(
        before[0] == after[1] for before, after in itertools.pairwise(shapes)
    )
    if not fit:
        raise UserError(
            f"The head {name!r} is no chain of linear layers: its weights have the shapes "
            f"{', '.join(' x '.join(map(str, one)) for one in shapes)}. Heads of another kind cannot be used."
        )


def _list_candidates(tensors: Sequence[str] | dict[str, Path]) -> str:
    """List names that may be heads: what is not part of the language model, its vision tower or what joins them."""
    begun = sorted({one.split(".")[0] for one in tensors} - BACKBONE)
    return ", ".join(begun[:10])
