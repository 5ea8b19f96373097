"""How fast the bridge is, beside what else could do its job: `make bench`."""
