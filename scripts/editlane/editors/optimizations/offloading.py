"""Keep most weights of a pipeline in host memory while an edit runs."""

from typing import Any

from editlane.models import load_times


def place_pipeline(pipe: Any, denoiser: Any, offload: str | None, device: str) -> None:
    """Move the pipeline to `device`, or the part of it that `offload` keeps there."""
    with load_times.measure_phase("transfer"):
        if device == "cpu" or offload is None:
            pipe.to(device)
        elif offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        else:
            offload_blocks(pipe, denoiser, device, use_stream=True)


def offload_blocks(pipe: Any, denoiser: Any, device: str, *, use_stream: bool) -> None:
    """Bring the blocks of `denoiser` to the device one at a time, and of the text encoders one layer at a time.

    diffusers brings a part only when its `forward` is called. An autoencoder is called by `encode` and `decode`, so it
    stays on the device; it is small. A text encoder has its blocks inside of other modules, where diffusers does not
    look for blocks: its weights would come and go all at once.
    """
    import torch
    from diffusers.hooks import apply_group_offloading

    there = {"onload_device": torch.device(device), "use_stream": use_stream}
    for part in pipe.components.values():
        if not isinstance(part, torch.nn.Module):
            continue
        if part is denoiser:
            part.enable_group_offload(offload_type="block_level", num_blocks_per_group=1, **there)
        elif hasattr(part, "decode"):
            part.to(device)
        else:
            apply_group_offloading(part, offload_type="leaf_level", **there)
