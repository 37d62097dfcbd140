"""Make processors work without torchvision.

Without torchvision, transformers 5 cannot construct or load a processor that also takes videos, such as those of
Qwen-VL, GLM-V, InternVL, Gemma 4 and MiniCPM-V: its video processor needs torchvision, and looking it up fails with an
AttributeError. Editlane shows models still images only.
"""

from typing import Any

PROCESSORS = ("Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor")


def drop_video_processors() -> bool:
    """Remove the video processor from the Qwen-VL processor classes if torchvision is missing; return whether it is.

    Call this before constructing or loading a Qwen-VL processor, or a pipeline that holds one. Repeated calls are
    harmless.
    """
    import transformers
    from transformers.utils import is_torchvision_available

    if is_torchvision_available():
        return False
    for name in PROCESSORS:
        getattr(transformers, name).get_attributes = classmethod(lambda cls: ["image_processor", "tokenizer"])
    return True


def replace_video_processors() -> Any:
    """Let every other processor have a video processor that does nothing if torchvision is missing.

    Return one, for a processor to be constructed with; None with torchvision. Call this before loading a processor,
    after `drop_video_processors`. Repeated calls are harmless.
    """
    if not drop_video_processors():
        return None
    from transformers import ProcessorMixin
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor

    stand_in = _make_stand_in()
    check = ProcessorMixin.check_argument_for_proper_class

    def check_or_pass(self: Any, name: str, argument: Any) -> Any:
        return type(argument) if getattr(argument, "takes_no_videos", False) else check(self, name, argument)

    if check.__name__ != check_or_pass.__name__:
        ProcessorMixin.check_argument_for_proper_class = check_or_pass
        AutoVideoProcessor.from_pretrained = classmethod(lambda cls, *_, **__: stand_in)
    return stand_in


def _make_stand_in() -> Any:
    """Make what stands for a video processor: it has what processors ask theirs while they are constructed."""
    from transformers.utils import PushToHubMixin

    class StillsOnly(PushToHubMixin):  # type: ignore[misc]
        takes_no_videos = True
        slice_mode = None
        downsample_mode = None
        _auto_class = None

        def to_dict(self) -> dict[str, Any]:
            """Return the settings that a processor saves."""
            return {}

    return StillsOnly()
