"""A `.env` file that belongs to a person: only our own lines in it change."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path


def update(path: Path, values: Mapping[str, str]) -> None:
    """Set these variables in the file, made with mode 0600 if it is not there.

    Lines that set one of them are replaced where they stand, a repeated one is dropped, new ones
    are appended, and everything else, comments included, stays. Readers see the old file or the
    new one, never a half. Raises OSError.
    """
    before = path.read_text() if path.exists() else ""
    target = path.resolve()  # a symbolic link keeps pointing
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w") as scratch:
            scratch.write(merged(before, values))
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def obstacle(path: Path) -> str | None:
    """Why `update` could not write this file; None: nothing is in its way."""
    directory = path.resolve().parent
    if not directory.is_dir():
        return f"cannot write {path}: there is no directory {directory}"
    if path.is_dir() or not os.access(directory, os.W_OK):
        return f"cannot write {path}: give the path of a file in a directory that is yours"
    return None


def merged(before: str, values: Mapping[str, str]) -> str:
    r"""The text of a file with these variables set.

    >>> merged("# mine\nA=1\nB=2\n", {"A": "3", "C": "4"})
    '# mine\nA=3\nB=2\nC=4\n'
    """
    left = dict(values)
    lines = []
    for line in before.splitlines():
        setting = re.match(r"\s*(?:export\s+)?(\w+)\s*=", line)
        name = setting[1] if setting else None
        if name is None or name not in values:
            lines.append(line)
        elif name in left:
            lines.append(f"{name}={left.pop(name)}")
    lines += [f"{name}={value}" for name, value in left.items()]
    return "".join(f"{line}\n" for line in lines)
