"""Errors of the stack, worded for the person who started it."""

EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


class StackError(Exception):
    """The stack cannot do what was asked; the text says why, and how to fix it."""


class PortInUseError(StackError):
    """Another program listens on the requested port."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on 127.0.0.1 is in use: stop the program that holds it, "
            f"or choose another port (0 takes any free one)"
        )
