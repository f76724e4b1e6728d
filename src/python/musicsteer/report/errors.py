"""What can go wrong, as one sentence."""


class ReportError(Exception):
    """The report cannot be made; the message is one sentence: where, what was expected, what came."""
