"""Copy arrays to the device. On a GPU the copy uses pinned memory and a stream of its own, beside running kernels."""

from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import torch


class Uploads:
    """Copies arrays to one device."""

    def __init__(self, device: str) -> None:
        import torch

        self.device = device
        streams: Any = torch.cuda.Stream
        self.stream = streams(device) if device.startswith("cuda") else None

    def begin(self) -> "Upload":
        """Return a new upload. Send its arrays inside of `with`."""
        return Upload(self.device, self.stream)


class Upload:
    """Arrays that the preparing thread sends together, and the computing thread waits for."""

    def __init__(self, device: str, stream: Any) -> None:
        self.patches: dict[bytes, torch.Tensor] = {}
        """Patches of images by digest, (patches, 3 * side * side) uint8."""
        self._device = device
        self._stream = stream
        self._sent: list[torch.Tensor] = []
        self._arrived: Any = None
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
            self._arrived = self._stream.record_event()
        self._context.__exit__(kind, error, trace)

    def send(self, values: np.ndarray) -> "torch.Tensor":
        """Return the tensor on the device. On a GPU it holds the values only after `wait`."""
        import torch

        tensor = torch.from_numpy(values)
        if self._stream is not None:
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        self._sent.append(tensor)
        return tensor

    def wait(self) -> None:
        """Make the current stream wait for the arrays. They may be used on it from now on."""
        if self._arrived is not None:
            import torch

            current = torch.cuda.current_stream()
            current.wait_event(self._arrived)
            for tensor in self._sent:
                tensor.record_stream(current)  # or the allocator reuses their memory while it is read
