"""Store the image features of a judge in files, which the processes of several editors share.

There is one file per image, 17 MB for 1024 x 1024 pixels and the 30B model. Editlane never deletes them.
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
"""Maximum number of images whose features wait on the device to be written."""


class FeatureStore:
    """Folder of image features from one model, in one precision, on one kind of device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="features")
        self._works = threading.Event()
        self._works.set()
        self._room = threading.BoundedSemaphore(UNWRITTEN)

    def read(self, digest: bytes) -> "torch.Tensor | None":
        """Read features, (1 + deeper layers, tokens, hidden size), to the CPU. Return None if the image is not
        stored."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            features: torch.Tensor = load_file(self._path(digest))["features"]
            return features
        except (OSError, SafetensorError, KeyError):  # missing, or truncated by a full disk
            return None

    def write(self, digest: bytes, features: "torch.Tensor") -> None:
        """Write the features of an image in a background thread.

        Skip the image if the queue is full, and all further ones once a write has failed.
        """
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
            log.warning("cannot store image features in %s: %s", self.folder, error)
        finally:
            self._room.release()

    def _path(self, digest: bytes) -> Path:
        return self.folder / digest.hex()[:2] / f"{digest.hex()}.safetensors"
