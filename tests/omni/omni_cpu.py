"""Let vLLM-Omni run on the CPU, for tests. It is copied into a venv of its own, as a plugin of vLLM-Omni."""

from typing import Any

import torch

GIB = 2**30


def find_platform() -> str:
    """Return the platform's class by name, as a plugin does."""
    return "omni_cpu.CpuOmniPlatform"


def make_platform() -> type:
    """Make the class when vLLM-Omni asks for it: its modules import each other."""
    from vllm.platforms.cpu import CpuPlatform
    from vllm_omni.platforms.interface import OmniPlatform, OmniPlatformEnum

    class CpuOmniPlatform(OmniPlatform, CpuPlatform):
        _omni_enum = OmniPlatformEnum.OOT

        @classmethod
        def get_diffusion_attn_backend_cls(cls, *_: Any, **__: Any) -> str:
            from vllm_omni.diffusion.attention.backends.abstract import AttentionImpl
            from vllm_omni.diffusion.attention.backends.registry import DiffusionAttentionBackendEnum

            # its code for CUDA is torch's own attention, which runs anywhere
            AttentionImpl.forward = lambda self, *given, **named: self.forward_cuda(*given, **named)
            return DiffusionAttentionBackendEnum.TORCH_SDPA.get_path()

        @classmethod
        def supports_torch_inductor(cls) -> bool:
            return False

        @classmethod
        def supports_cpu_offload(cls) -> bool:
            return False

        @classmethod
        def get_default_stage_config_path(cls) -> str:
            return "vllm_omni/model_executor/stage_configs"

        @classmethod
        def get_torch_device(cls, local_rank: int | None = None) -> torch.device:
            return torch.device("cpu")

        @classmethod
        def get_device_count(cls) -> int:
            return 1

        @classmethod
        def get_free_memory(cls, device: Any = None) -> int:
            return 8 * GIB

        @classmethod
        def get_device_memory(cls, device: Any = None) -> tuple[int, int]:
            return 8 * GIB, 16 * GIB

    def do_nothing(*_: Any, **__: Any) -> None: ...

    def zero(*_: Any, **__: Any) -> int:
        return 0

    for name in ("synchronize", "record_device_event", "reset_peak_memory_stats", "empty_cache", "get_device_version"):
        setattr(CpuOmniPlatform, name, staticmethod(do_nothing))
    for name in ("set_device_control_env_var", "unset_device_control_env_var"):
        setattr(CpuOmniPlatform, name, staticmethod(do_nothing))
    for name in ("memory_reserved", "max_memory_reserved", "max_memory_allocated"):
        setattr(CpuOmniPlatform, name, staticmethod(zero))
    return CpuOmniPlatform


def __getattr__(name: str) -> Any:
    if name != "CpuOmniPlatform":
        raise AttributeError(name)
    return globals().setdefault(name, make_platform())
