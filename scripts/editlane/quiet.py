"""Model libraries draw progress bars and print advice; in a lane's log both hide what matters."""


def quiet_model_libraries() -> None:
    """Let diffusers and transformers print errors only, and draw no progress bars while they load or save."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
