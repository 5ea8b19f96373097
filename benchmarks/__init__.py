"""How fast the bridge is, compared with alternatives: `make bench`."""
