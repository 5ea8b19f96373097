"""The programs under test, each a process of its own."""
