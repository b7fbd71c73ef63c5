"""Formats tracebacks of defects, without values of cells that a library may quote in its message."""

import re
import traceback
from pathlib import Path

from data_modules.errors import UserError
from mmnar_lightning.distributed.signals import PreemptedError

FILE = "traceback.txt"
"""File in the folder of a run that ended with a defect."""
QUOTING = ("polars", "pyo3_runtime", "pyarrow", "csv", "fastexcel")
"""Libraries whose messages may include cells without quotation marks."""
_QUOTED = re.compile(r"""(?<![A-Za-z])(?:(['"`]).*?\1|“[^”]*”)(?![A-Za-z])""", re.DOTALL)
"""Quoted words; an apostrophe between letters ends none."""
_UNPAIRED = re.compile(r"""(?<![A-Za-z])['"`“].*""", re.DOTALL)
"""From a quotation mark that has no other to the end."""
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ]\d{1,2}(?::\d{2})+(?:\.\d+)?)?")
_LONG_NUMBER = re.compile(r"\d{5,}")
"""Ids have five digits or more; shapes, lines and positions are seldom as long."""


def describe(error: BaseException) -> str:
    """Format the traceback of an error and of its causes.

    Messages of libraries that read tables, and quoted words, dates, long numbers and keys of all others, are withheld:
    they may be cells of a record.

    Returns:
        The text, with a final line break.

    >>> def read(cell: str) -> float:
    ...     return float(cell)
    >>> try:
    ...     read("Smith, John")
    ... except ValueError as error:
    ...     print(describe(error).splitlines()[-1])
    ValueError: could not convert string to float: …
    """
    parts = [_one(error)]
    seen, cause = {id(error)}, error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None and id(cause) not in seen:
        parts.append(f"{_one(cause)}\nwhich caused:\n")
        seen.add(id(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "".join(reversed(parts)) + "\n"


def is_defect(error: BaseException) -> bool:
    """Whether an error is one of the program: no user error, stop, or exit. A panic of compiled code is one."""
    return not isinstance(error, (UserError, PreemptedError, KeyboardInterrupt, SystemExit))


def save(error: BaseException, folder: Path) -> None:
    """Write the traceback of a defect into the folder of its run."""
    (folder / FILE).write_text(describe(error), encoding="utf-8")


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    kind = type(error)
    return f"Traceback (most recent call last):\n{frames}{kind.__qualname__}: {_message(error)}"


def _message(error: BaseException) -> str:
    if type(error).__module__.split(".")[0] in QUOTING:
        return "(the message is withheld, because it may quote cells of records)"
    if isinstance(error, KeyError):
        return "…"
    shown = _QUOTED.sub("…", str(error))
    for hidden in (_UNPAIRED, _DATE, _LONG_NUMBER):
        shown = hidden.sub("…", shown)
    return shown
