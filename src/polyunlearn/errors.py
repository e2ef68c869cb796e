"""The one exception that is a user's mistake rather than a defect of ours."""


class UserError(Exception):
    """Something the user can mend: the message says what happened, which value, and what to type.

    The command line prints it without a traceback and exits with code 2.
    """
