"""Qwen-VL processors without torchvision.

transformers 5 cannot construct or load a Qwen-VL processor where torchvision is missing: its video half exists only
on torchvision, and looking that half up fails with an AttributeError. Editlane shows models still images only.
"""

PROCESSORS = ("Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor")


def drop_video_processors() -> bool:
    """Take the video half out of the Qwen-VL processor classes where torchvision is missing; return whether it is.

    Call before a Qwen-VL processor, or a pipeline that holds one, is constructed or loaded. Calling again is harmless.
    With torchvision nothing changes.
    """
    import transformers
    from transformers.utils import is_torchvision_available

    if is_torchvision_available():
        return False
    for name in PROCESSORS:
        getattr(transformers, name).get_attributes = classmethod(lambda cls: ["image_processor", "tokenizer"])
    return True
