"""The one error of raw files: which file, what is wrong, how to mend it."""

from pathlib import Path

from data_modules.errors import UserError


class SourceError(UserError):
    """A raw file cannot be used as it is.

    Args:
        place: the file or folder, or the setting that names it.
        problem: what was found, and what was expected.
        remedy: what the reader can do about it.
    """

    def __init__(self, place: Path | str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}. {remedy[0].upper()}{remedy[1:]}.")
