"""Standard output and error, whose faults cost no command its work: a full disk, a closed terminal, ASCII."""

import os
import sys
from contextlib import suppress
from typing import Any


class Lasting:
    """A text stream that goes on into nothing when it cannot be written any more.

    Args:
        stream: with a file descriptor of its own.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            self.stream.write(text)
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or drop it."""
        try:
            self.stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Let the stream end in nothing: what its buffer holds would fail again when the interpreter ends."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.stream.fileno())
        os.close(nothing)
        with suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def protect() -> None:
    """Make both streams of this process lasting; signs that their encoding lacks are replaced.

    A closed descriptor is opened first: the next file that is opened would get its number, and what C libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")
        setattr(sys, name, Lasting(stream))
