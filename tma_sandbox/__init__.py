"""The embedded stack for `local`, `demo` and the tests."""
