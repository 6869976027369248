"""The one exception whose text is shown to the user as it is."""


class Mistake(Exception):
    """The input or the usage is wrong. The text says what is wrong and what to do, in one line.

    The commands print it without a traceback and exit with 2.
    """
