"""Verbs of `pagoda` that need no database: they talk to a running server or start their own."""


class CommandFailed(Exception):
    """What the person at the terminal reads; the command ends with status 1."""
