"""The programs under test, each in its own process."""
