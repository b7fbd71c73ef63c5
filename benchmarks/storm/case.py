"""One attempt, and its outcome."""

from typing import NamedTuple


class Case(NamedTuple):
    """An attempt.

    Attributes:
        kind: `kill`, `damage` or `input`.
        what: the stage, the file or the input.
        number: of the attempt.
    """

    kind: str
    what: str
    number: int
