"""Model libraries draw progress bars and print advice; in a lane's log both hide what matters."""


def quiet_model_libraries() -> None:
    """No progress bars; of transformers errors only; of diffusers also warnings, through the lane's own log.

    A diffusers warning can concern one item: its prompt was longer than the text encoder reads, and was cut.
    """
    import diffusers.utils.logging
    import transformers.utils.logging

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_warning()
    diffusers.utils.logging.disable_default_handler()
    diffusers.utils.logging.enable_propagation()
