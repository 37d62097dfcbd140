"""What a judge saw in source images, as files that the processes of several editors share.

One file an image, 17 MB for 1024 x 1024 pixels and the 30B model. Nothing deletes them.
"""

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

UNWRITTEN = 8
"""Images whose features may wait on the device for being written."""


class FeatureStore:
    """A folder for the features that one model, in one precision, on one kind of device, makes of images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="features")
        self._works = threading.Event()
        self._works.set()
        self._room = threading.BoundedSemaphore(UNWRITTEN)

    def read(self, digest: bytes) -> "torch.Tensor | None":
        """(1 + deeper layers, tokens, hidden size), on the CPU; None where the image is not known."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            features: torch.Tensor = load_file(self._path(digest))["features"]
            return features
        except (OSError, SafetensorError, KeyError):  # not there, or cut short by a full disk
            return None

    def write(self, digest: bytes, features: "torch.Tensor") -> None:
        """Keep the features of an image, later, in a thread. Where the folder is slow or cannot be written to, some are
        not kept."""
        if self._works.is_set() and self._room.acquire(blocking=False):
            self._writer.submit(self._write, digest, features)

    def _write(self, digest: bytes, features: "torch.Tensor") -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self._path(digest)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"features": features.cpu().contiguous()}, partial)
            os.replace(partial, path)
        except (OSError, SafetensorError) as error:
            self._works.clear()
            with suppress(OSError):
                partial.unlink()
            log.warning("cannot keep the features of images in %s: %s", self.folder, error)
        finally:
            self._room.release()

    def _path(self, digest: bytes) -> Path:
        return self.folder / digest.hex()[:2] / f"{digest.hex()}.safetensors"
