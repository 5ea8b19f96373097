"""What commands exit with; 0 means that all is well."""

FAILURE = 1
CONFIGURATION = 78  # EX_CONFIG of sysexits.h
