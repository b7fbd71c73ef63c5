"""The vocabulary that all stages share: modalities and splits.

The number and the names of the modalities are declared by each cohort and fixed nowhere else.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from data_modules.errors import UserError

Kind = Literal["table", "vectors", "documents", "images"]
"""How a modality is stored: a numeric table (NaN = not measured), precomputed vectors, texts or images."""

TaskKind = Literal["binary", "value"]
"""What the tasks of a cohort are: outcomes that are yes or no, or numbers. All tasks of a cohort are of one kind."""

Split = Literal["train", "calibration", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

ARRAY_KINDS: frozenset[Kind] = frozenset({"table", "vectors"})
"""Kinds that reach the model as one float vector per row."""


def check_name(source: str, name: str, *, begins_with_digit: bool = True) -> None:
    """Refuse a name that is no plain name of a folder or file, such as `../other`.

    Args:
        source: setting or file that the name comes from.
        name: becomes a part of a path.
        begins_with_digit: whether it may.

    Raises:
        UserError: with the source and the name.

    >>> check_name("cohort.name", "a/b")
    Traceback (most recent call last):
    data_modules.errors.UserError: cohort.name='a/b' must consist of letters, digits, '_' and '-': it names a folder
    """
    if not re.fullmatch(r"[\w-]+", name) or (name[0].isdigit() and not begins_with_digit):
        also = "" if begins_with_digit else ", and begin with no digit"
        raise UserError(f"{source}={name!r} must consist of letters, digits, '_' and '-'{also}: it names a folder")


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of input, declared by a cohort.

    Attributes:
        name: used in `present/<name>`, in folders and in the configuration.
        kind: how it is stored.
        width: floats per row of an array; 0 for documents and images.
    """

    name: str
    kind: Kind
    width: int = 0

    def __post_init__(self) -> None:
        """Refuse names that are no identifier, and unknown kinds."""
        if not self.name.isidentifier():
            raise UserError(
                f"modality name {self.name!r} must consist of letters, digits and underscores, without a leading "
                "digit, because it names a folder and a column"
            )
        if self.kind not in get_args(Kind):
            raise UserError(f"modality {self.name}: kind {self.kind!r} is not one of {get_args(Kind)}")

    def to_dict(self) -> dict[str, Any]:
        """The modality as plain values, for manifests and checkpoints."""
        return {"name": self.name, "kind": self.kind, "width": self.width}
