"""The one exception that is meant for the user."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and says what to do.

    Its text is shown as it is, without a traceback, so it must make sense to someone who never read the code.
    """
