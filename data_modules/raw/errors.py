"""The error of raw files: file, problem and remedy."""

from pathlib import Path

from data_modules.errors import UserError

DOWNLOAD_AGAIN = "compare the file with SHA256SUMS.txt of the release and download it again"
"""Remedy of a file that differs from the published one."""


class SourceError(UserError):
    """A raw file is missing, unreadable or malformed.

    Args:
        place: the file or folder, or the setting that names it.
        problem: what was found and what was expected.
        remedy: how the user can fix it.
    """

    def __init__(self, place: Path | str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}. {remedy[0].upper()}{remedy[1:]}.")
