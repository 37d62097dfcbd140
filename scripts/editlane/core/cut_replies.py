"""Mark a judge's reply that did not come to its end."""


class CutReply(str):
    """A generated reply that ended at the limit of tokens, so its last word may be the half of one."""

    __slots__ = ()
