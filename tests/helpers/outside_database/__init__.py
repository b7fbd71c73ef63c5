"""A database of three tables, as a package outside of the project would add it (tests/end_to_end/test_outside.py)."""
