"""Keep the progress bars and advice of model libraries out of the lanes' logs, where they hide what matters."""


def quiet_model_libraries() -> None:
    """Disable progress bars. Keep errors of transformers, and errors and warnings of diffusers, in the lane's own log.

    A diffusers warning can concern one item, for instance a prompt that was truncated for the text encoder.
    """
    import diffusers.utils.logging
    import transformers.utils.logging

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_warning()
    diffusers.utils.logging.disable_default_handler()
    diffusers.utils.logging.enable_propagation()
