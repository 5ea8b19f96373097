"""Where settings come from: the environment and, below it, an env file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from realtime_bridge.settings.env_file import env_values

# What is read again while the bridge runs.
KEYS = ("SUPABASE_KEY", "SUPABASE_ANON_KEY")

_LONGEST_SECRET = 65_536


@dataclass(frozen=True, slots=True)
class Home:
    """Where a setting is kept, which is how a running bridge gets another value of it."""

    name: str
    file: Path | None = None  # named by NAME_FILE
    env_file: Path | None = None

    def __str__(self) -> str:
        if self.file:
            return f"{self.file} ({self.name}_FILE)"
        return str(self.env_file or "the environment")

    @property
    def renewal(self) -> str:
        """What a person does who has another value."""
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

    def home(self, name: str, values: Mapping[str, str | None]) -> Home:
        """Where a setting is kept, given what `read` collected."""
        if is_set(self.environ.get(name)):
            return Home(name)
        if is_set(values.get(name)):
            return Home(name, env_file=self.env_file)
        path = values.get(f"{name}_FILE")
        return Home(name, file=Path(path.strip()) if path and path.strip() else None)


def known_in(
    values: Mapping[str, str | None], names: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """What is set, from files too where NAME_FILE names one, and why some of it is not."""
    known: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        value, path = values.get(name), values.get(f"{name}_FILE")
        if is_set(value):
            known[name] = str(value).strip()
        elif is_set(path):
            try:
                known[name] = secret_in(Path(str(path).strip()))
            except OSError as error:
                problems.append(f"{name}_FILE cannot be read: {path} ({error.strerror})")
            except ValueError as error:
                problems.append(f"{name}_FILE {error}: {path}")
    return known, problems


def is_set(value: str | None) -> bool:
    """Whether there is anything but blanks."""
    return bool(value and value.strip())


def secret_in(path: Path) -> str:
    """Read a file that holds one secret. Raises OSError, and ValueError for what is none."""
    with path.open("rb") as file:
        content = file.read(_LONGEST_SECRET)
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not secret:
        raise ValueError("is empty")
    return secret
