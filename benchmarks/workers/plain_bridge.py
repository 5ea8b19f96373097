"""The bridge as a user runs it."""

from realtime_bridge.cli import cli

if __name__ == "__main__":
    cli(["run"])
