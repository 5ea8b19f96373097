"""What may go wrong with the embedded stack, in words for the person who started it."""


class StackError(Exception):
    """The embedded stack cannot do what was asked; the text says why and what helps."""


class PortInUseError(StackError):
    """Somebody else listens on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on 127.0.0.1 is in use: stop the program that holds it, "
            f"or choose another with --port (0 takes any free one)"
        )
