"""The env file: whatever is in its place, values or a word on what to do."""

import stat
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from realtime_bridge.settings.errors import ConfigurationError

_LARGEST = 2**20  # bytes; nobody has that many settings
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_AS_UTF_8 = "save it as UTF-8 (in PowerShell: Set-Content -Encoding utf8)"
# It is there only as long as the stack runs.
_OF_THE_LOCAL_STACK = ".env.local"


def env_values(path: Path, *, must_exist: bool) -> dict[str, str | None]:
    """Read an env file by name. Raises ConfigurationError, which says how to fix it.

    Without `must_exist` it may be absent, and a directory: some keep a virtual environment there.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISFIFO(mode):  # password managers serve pipes
            return _parsed(_content(path), path)
    except FileNotFoundError:
        if must_exist:
            raise _problem(_absent(path)) from None
        return {}
    except PermissionError as error:
        raise _problem(_locked(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "its name cannot be one"
        raise _problem(f"the env file {path} cannot be read: {reason}") from error
    if must_exist:
        raise _problem(f"{path} is not a file: name the env file itself")
    return {}


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST + 1)


def _parsed(content: bytes, path: Path) -> dict[str, str | None]:
    if len(content) > _LARGEST:
        raise _problem(f"the env file {path} is larger than a mebibyte: that is no env file")
    if content.startswith(_UTF_16):
        raise _problem(f"the env file {path} is UTF-16 text: {_AS_UTF_8}")
    if b"\0" in content:
        raise _problem(f"the env file {path} has NUL bytes, which no text has: {_AS_UTF_8}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _problem(
            f"the env file {path} is not UTF-8 text (line {line}): {_AS_UTF_8}"
        ) from None  # which would quote it
    return dotenv_values(stream=StringIO(text))


def _absent(path: Path) -> str:
    if path.name == _OF_THE_LOCAL_STACK:
        return f"there is no env file {path}: `realtime-bridge local` has one while it runs"
    return f"there is no env file {path}"


def _locked(path: Path) -> str:
    return (
        f"the env file {path} cannot be read: permission denied. Run this as the user whose file "
        "it is, or let this one read it, with chmod or chown"
    )


def _problem(text: str) -> ConfigurationError:
    return ConfigurationError([text])
