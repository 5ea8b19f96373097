"""The README's example runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def test_the_example_in_python_runs():
    """It prints the address and, as nothing was sent, an empty list."""
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    ran = subprocess.run(
        [sys.executable, "-c", example],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n\[\]\n", ran.stdout)
