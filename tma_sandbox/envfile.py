"""The stack's settings in a `.env` file: a block of their own, removed when the stack stops.

The first line of the block has a digest of the settings below it. It distinguishes generated
settings from those that somebody wrote or edited, which are never overwritten.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from tma_sandbox.errors import StackError

_BEGIN = "# tma-sandbox: generated, removed when it stops, do not edit"
_END = "# tma-sandbox: end"
_BLOCK = re.compile(
    rf"^{_BEGIN} \[([0-9a-f]+)\]\r?\n((?:(?!#).*\n)*){_END}(?:\r?\n|\Z)", re.MULTILINE
)


@contextmanager
def lent(path: Path, values: Mapping[str, str]) -> Iterator[None]:
    """Keep these settings in the file while the context lasts; a new file has mode 0600.

    The rest of the file stays as it is, byte for byte. Raises StackError if there is an `obstacle`.
    """
    if problem := obstacle(path, values):
        raise StackError(problem)
    _write(path, merged(_read(path), values))
    try:
        yield
    finally:
        _remove(path, values)


def obstacle(path: Path, names: Mapping[str, str] | set[str], *, command: str = "") -> str | None:
    """Why settings of these names cannot go into this file; None if they can.

    `command` is the one that the user ran; an example in the text repeats it.
    """
    directory = path.resolve().parent
    if not directory.is_dir():
        return f"cannot write {path}: there is no directory {directory}"
    if not os.access(directory, os.W_OK) or (path.exists() and not path.is_file()):
        return f"cannot write {path}: name a file in a directory of yours with --env-file"
    try:
        lost = at_stake(_read(path), set(names))
    except (OSError, UnicodeDecodeError):
        return f"cannot read {path} as UTF-8 text: name another file with --env-file"
    if not lost:
        return None
    return (
        f"{path} has settings that are not this stack's: {', '.join(lost)}.\n"
        "They would be overridden. Keep them, and name another file, for example:\n"
        f"  {command} --env-file .env.stack"
    )


def at_stake(text: str, names: set[str]) -> list[str]:
    r"""List the settings of these names that the file has outside our block, sorted.

    >>> at_stake("TOKEN=1:A\nKEY=\n# URL=x", {"TOKEN", "KEY", "URL"})
    ['TOKEN']
    """
    others = dotenv_values(stream=StringIO(_without(text)), interpolate=False)
    return sorted(name for name in names if others.get(name))


def merged(text: str, values: Mapping[str, str]) -> str:
    """The text of a file with our block at its end, where it takes precedence."""
    rest = _without(text)
    newline = "" if not rest or rest.endswith("\n") else "\n"
    return f"{rest}{newline}{_block(values)}"


def _block(values: Mapping[str, str]) -> str:
    body = "".join(f"{name}={value}\n" for name, value in values.items())
    return f"{_BEGIN} [{_digest(body)}]\n{body}{_END}\n"


def _digest(body: str) -> str:
    return hashlib.sha256(body.replace("\r", "").encode()).hexdigest()[:16]


def _without(text: str) -> str:
    """The text without our own blocks."""
    return _BLOCK.sub(lambda found: "" if _digest(found[2]) == found[1] else found[0], text)


def _remove(path: Path, values: Mapping[str, str]) -> None:
    """Remove the block with these settings, and the file if nothing else is in it.

    A block that another stack has written meanwhile stays, and so does one that was edited.
    """
    try:
        text = _read(path)
        rest = text.replace(_block(values), "")
        if rest == text:
            return
        if rest or path.is_symlink():
            _write(path, rest)
        else:
            path.unlink()
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(
            f"the settings in {path} are no longer valid; remove them: {error}"
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Replace the file atomically."""
    target = path.resolve()  # a symbolic link stays one
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as scratch:
                scratch.write(text.encode())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StackError(f"cannot write {path}: {error.strerror}") from error
