"""Arrays on their way to the device: on a GPU from pinned memory and on a stream of their own, beside its work."""

from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import torch


class Uploads:
    """The way to one device."""

    def __init__(self, device: str) -> None:
        import torch

        self.device = device
        streams: Any = torch.cuda.Stream
        self.stream = streams(device) if device.startswith("cuda") else None

    def begin(self) -> "Upload":
        """A new parcel; its arrays are sent inside of `with`."""
        return Upload(self.device, self.stream)


class Upload:
    """Arrays that are sent together, by the thread that prepares them, and received by the one that computes."""

    def __init__(self, device: str, stream: Any) -> None:
        self.patches: dict[bytes, torch.Tensor] = {}
        """Of images by their digest, (patches, 3 * side * side) uint8."""
        self.features: dict[bytes, torch.Tensor] = {}
        """Of images that were looked at before, by their digest: (1 + deeper layers, tokens, hidden size)."""
        self._device = device
        self._stream = stream
        self._sent: list[torch.Tensor] = []
        self._there: Any = None
        self._context: Any = nullcontext()

    def __enter__(self) -> Self:
        import torch

        if self._stream is not None:
            self._context = torch.cuda.stream(self._stream)
        self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._there = self._stream.record_event()
        self._context.__exit__(kind, error, trace)

    def send(self, values: "np.ndarray | torch.Tensor") -> "torch.Tensor":
        """The tensor on the device; on a GPU it holds the values only once `received` was called."""
        import torch

        tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        if self._stream is not None:
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        self._sent.append(tensor)
        return tensor

    def received(self) -> None:
        """Let the current stream wait for the arrays; from now on they may be used on it."""
        if self._there is not None:
            import torch

            current = torch.cuda.current_stream()
            current.wait_event(self._there)
            for tensor in self._sent:
                tensor.record_stream(current)  # or the allocator gives their memory away too early
