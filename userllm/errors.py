"""The one exception for everything a user can put right."""


class UserError(Exception):
    """Says what was given, what was expected and what to type; the command exits with code 2.

    Everything that bad input can cause raises this, so that nobody has to read a traceback to
    find a misspelt key. Programming errors keep their tracebacks.
    """
