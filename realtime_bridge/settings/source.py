"""Where settings come from: the environment and, below it, an env file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from realtime_bridge.settings.env_file import env_values

# The settings that a running bridge reads again.
KEYS = ("SUPABASE_KEY", "SUPABASE_ANON_KEY")

_LONGEST_SECRET = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class Location:
    """Where a setting is kept, which decides how a running bridge gets another value."""

    name: str
    file: Path | None = None  # named by NAME_FILE
    env_file: Path | None = None

    def __str__(self) -> str:
        if self.file:
            return f"{self.file} ({self.name}_FILE)"
        return str(self.env_file or "the environment")

    @property
    def how_to_change(self) -> str:
        """What a person does to change the value."""
        if self.file:
            return f"write the new one to {self.file}; no restart"
        if self.env_file:
            return (
                f"put the new one into {self.env_file} and send SIGHUP (kill -HUP, systemctl "
                "reload); no restart"
            )
        return (
            f"a running process keeps its environment: restart with the new one, or keep it in a "
            f"file that {self.name}_FILE names"
        )


@dataclass(frozen=True)
class Source:
    """Where settings come from: the environment and, below it, an env file."""

    environ: Mapping[str, str | None]
    env_file: Path | None = None
    must_exist: bool = False

    def read(self) -> dict[str, str | None]:
        """Collect what is set now, by name. Raises ConfigurationError: the file is of no use."""
        if self.env_file is None:
            return dict(self.environ)
        return {**env_values(self.env_file, must_exist=self.must_exist), **self.environ}

    def locate(self, name: str, variables: Mapping[str, str | None]) -> Location:
        """Find out where a setting is kept, among the variables that `read` returned."""
        if is_set(self.environ.get(name)):
            return Location(name)
        if is_set(variables.get(name)):
            return Location(name, env_file=self.env_file)
        path = variables.get(f"{name}_FILE")
        return Location(name, file=Path(path.strip()) if path and path.strip() else None)


def resolve(
    variables: Mapping[str, str | None], names: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the values of these settings, from NAME or NAME_FILE, and the problems with them."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        value, path = variables.get(name), variables.get(f"{name}_FILE")
        if is_set(value):
            values[name] = str(value).strip()
        elif is_set(path):
            try:
                values[name] = read_secret(Path(str(path).strip()))
            except OSError as error:
                problems.append(f"{name}_FILE cannot be read: {path} ({error.strerror})")
            except ValueError as error:
                problems.append(f"{name}_FILE {error}: {path}")
    return values, problems


def is_set(value: str | None) -> bool:
    """Whether there is anything but blanks."""
    return bool(value and value.strip())


def read_secret(path: Path) -> str:
    """Read a file that holds one secret. Raises OSError, or ValueError if it is empty or binary."""
    with path.open("rb") as file:
        content = file.read(_LONGEST_SECRET)
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not secret:
        raise ValueError("is empty")
    return secret
