"""Lets a worker trust the authority that SSL_CERT_FILE names.

OpenSSL, httpx and websockets read that variable; aiogram asks certifi, which does not.
"""

import os

import certifi


def trust() -> None:
    """Let certifi name the same file."""
    if file := os.environ.get("SSL_CERT_FILE"):
        certifi.where = lambda: file
