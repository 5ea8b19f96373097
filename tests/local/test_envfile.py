"""A person's .env file: only the settings of the stack change in it."""

import pytest

from realtime_bridge.local import envfile


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=1\nB=2\n"),
        ("# note\n\nX=y\n", "# note\n\nX=y\nA=1\nB=2\n"),
        ("A=0\nX=y\nB=0\n", "A=1\nX=y\nB=2\n"),
        ("export A=0\n A = 0\n#A=0\nAA=0", "A=1\n#A=0\nAA=0\nB=2\n"),
    ],
)
def test_only_own_settings_change(before, after):
    """Replaced in place, doubles dropped, new ones appended, the rest kept."""
    assert envfile.merged(before, {"A": "1", "B": "2"}) == after


def test_the_file_is_for_its_owner_only_and_links_stay(tmp_path):
    """Secrets get mode 0600; a symbolic link still points where it pointed."""
    real = tmp_path / "real"
    real.touch(mode=0o644)
    link = tmp_path / ".env"
    link.symlink_to(real)

    envfile.update(link, {"A": "1"})

    assert link.is_symlink()
    assert real.read_text() == "A=1\n"
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "real"]
