"""The words that every stage shares: modalities, tasks and splits.

Nothing in the project knows how many modalities there are, or their names: a cohort declares them.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from data_modules.errors import UserError

Kind = Literal["table", "vectors", "documents", "images"]
"""How a modality is stored: a numeric table (NaN = not measured), precomputed vectors, texts, or pictures."""

Split = Literal["train", "calibration", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

ARRAY_KINDS: frozenset[Kind] = frozenset({"table", "vectors"})
"""Kinds that reach the model as one float vector a row."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of input, as a cohort declares it.

    Attributes:
        name: the name used in `present/<name>`, in folders and in the configuration.
        kind: how it is stored.
        width: floats per row once it is an array; 0 while it is documents or images.
    """

    name: str
    kind: Kind
    width: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not be stored or addressed."""
        if not self.name.isidentifier():
            raise UserError(
                f"modality name {self.name!r} must be a word of letters, digits and underscores, "
                "because it names a folder and a column"
            )
        if self.kind not in get_args(Kind):
            raise UserError(f"modality {self.name}: kind {self.kind!r} is not one of {get_args(Kind)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for manifests and checkpoints."""
        return {"name": self.name, "kind": self.kind, "width": self.width}
