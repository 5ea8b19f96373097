"""`python -m realtime_bridge`."""

from realtime_bridge.cli import main

main()
