"""Read the head of a reward model from safetensors, without code of its own: linear layers with ReLU between them."""

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from editlane.core.errors import UserError
from editlane.models.checkpoints import find_safetensors_problem, read_safetensors_header

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


DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Number formats of a head's weights: their names in safetensors and in torch."""


class Tensor(NamedTuple):
    """One tensor of a safetensors file, as its header tells."""

    path: Path
    begin: int
    """The byte of the file with which it begins."""
    end: int
    dtype: str
    """Its name in torch."""
    shape: tuple[int, ...]


def find_layers(files: Sequence[Path], name: str) -> list[tuple[Tensor, Tensor | None]]:
    """Find the weight (out, in) and the bias (out,) of each layer of the head `name`, reading headers alone.

    The head is one layer, as `score.weight`, or several, as `rm_head.0.weight` and `rm_head.3.weight`. The numbers of
    layers are those of a torch Sequential; what lies between two of them is a ReLU, and a dropout that does nothing
    here. Raises UserError if a file is damaged, if none has the head, or if its layers do not fit together.
    """
    for problem in filter(None, map(find_safetensors_problem, files)):
        raise UserError(f"The weights of the head cannot be read: {problem}. Copy or download them again.")
    headers = {path: read_safetensors_header(path) for path in files}
    places = {tensor: path for path, (_, header) in headers.items() for tensor in header}
    weights = sorted(
        (one for one in places if one.startswith(f"{name}.") and one.endswith("weight")), key=_number_of_layer
    )
    if not weights:
        raise UserError(_explain_missing(name, files, places))

    def find(tensor: str) -> Tensor:
        return _find_tensor(places[tensor], tensor, *headers[places[tensor]])

    biases = [one.removesuffix("weight") + "bias" for one in weights]
    layers = [(find(one), find(bias) if bias in places else None) for one, bias in zip(weights, biases, strict=True)]
    _check_layers(name, [weight.shape for weight, _ in layers])
    return layers


def read_head(files: Sequence[Path], name: str, device: str) -> Head:
    """Read the head that `find_layers` finds, as float32. Raises its errors."""
    return Head(
        [
            (_read_tensor(weight, device), None if bias is None else _read_tensor(bias, device))
            for weight, bias in find_layers(files, name)
        ]
    )


def _explain_missing(name: str, files: Sequence[Path], tensors: Collection[str]) -> str:
    candidates = _list_candidates(tensors)
    remedy = (
        f"Set `head` in `params` to the name of one that is there: {candidates}."
        if candidates
        else "No weights there look like a head. Name the file of one in `head_file`, or use `adapter: vlm` for a "
        "chat model."
    )
    where = ", ".join(path.name for path in files) or "the checkpoint"
    return f"There are no weights of a head {name!r} in {where}. {remedy}"


def _find_tensor(path: Path, name: str, size: int, header: dict[str, Any]) -> Tensor:
    """Return where a tensor lies in its file. Raises UserError for whole or quantised numbers."""
    entry = header[name]
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise UserError(f"The head's weight {name} in {path.name} has the type {entry['dtype']}; use F32 or BF16.")
    begin, end = entry["data_offsets"]
    return Tensor(path, 8 + size + begin, 8 + size + end, dtype, tuple(entry["shape"]))


def _read_tensor(found: Tensor, device: str) -> "torch.Tensor":
    import torch

    with found.path.open("rb") as file:
        file.seek(found.begin)
        content = bytearray(file.read(found.end - found.begin))
    flat = torch.frombuffer(content, dtype=getattr(torch, found.dtype))
    return flat.reshape(found.shape).float().to(device)


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


def _list_candidates(tensors: Collection[str]) -> str:
    """List names that may be heads: what is not part of the language model, its vision tower or what joins them."""
    begun = sorted({one.split(".")[0] for one in tensors} - BACKBONE)
    return ", ".join(begun[:10])
