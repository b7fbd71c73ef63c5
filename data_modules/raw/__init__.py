"""Declared tables, and the one reader of raw files."""
