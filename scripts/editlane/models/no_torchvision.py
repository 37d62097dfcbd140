"""Make Qwen-VL processors work without torchvision.

Without torchvision, transformers 5 cannot construct or load a Qwen-VL processor: its video processor needs torchvision,
and looking it up fails with an AttributeError. Editlane shows models still images only.
"""

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
