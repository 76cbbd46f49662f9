"""What ends a run early: what a user can put right, and a helper whose part is over."""


class UserError(Exception):
    """Says what was given, what was expected and what to type; the command exits with code 2.

    Everything that bad input can cause raises this, so that nobody has to read a traceback to
    find a misspelt key. Programming errors keep their tracebacks.
    """


class Helped(SystemExit):
    """A training is over for a process that is not its first: the rest is not its business."""
