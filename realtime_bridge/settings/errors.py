"""How a configuration that cannot work is told."""


class ConfigurationError(Exception):
    """The configuration cannot work; `problems` says what is wrong and how to fix it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
