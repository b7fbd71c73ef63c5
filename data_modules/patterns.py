"""Missingness patterns: presence <-> pattern id <-> pattern label.

The bit order is defined only here. Presence is True where a modality was observed; modality m is bit m of the pattern
id (the first modality is bit 0) and character m of the pattern label, counted from the left. Arrays are of numpy or of
torch: the operators used are those that both have, so the stages before the model need no torch.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from data_modules.errors import UserError

MAX_MODALITIES = 62
"""Pattern ids are int64: one bit is the sign and one stays free."""

Array = TypeVar("Array")
"""An array of numpy or a tensor of torch; the result is of the same library, on the same device."""


def encode(present: Array) -> Array:
    """Turn presence into pattern ids; more than `MAX_MODALITIES` modalities are a `UserError`.

    Args:
        present: (..., M) bool, True = observed.

    Returns:
        (...,) int64 pattern ids.

    >>> import numpy as np
    >>> encode(np.array([[True, False, True], [False, False, False]])).tolist()
    [5, 0]
    """
    columns: Any = present
    num_modalities = columns.shape[-1]
    _require_fit(num_modalities)
    ids = columns[..., :0].sum(-1)  # int64 zeros in both libraries
    for bit in range(num_modalities):
        ids = ids + columns[..., bit] * (1 << bit)
    found: Array = ids
    return found


def decode(pattern: Array, num_modalities: int) -> Array:
    """Turn pattern ids into presence; more than `MAX_MODALITIES` modalities are a `UserError`.

    Args:
        pattern: (...,) int64 pattern ids.
        num_modalities: M.

    Returns:
        (..., M) bool.

    >>> import numpy as np
    >>> decode(np.array([5, 0]), 3).tolist()
    [[True, False, True], [False, False, False]]
    """
    _require_fit(num_modalities)
    ids: Any = pattern
    bits = ids[..., None][..., [0] * num_modalities]  # a copy of the ids for each modality
    for bit in range(num_modalities):
        bits[..., bit] = (ids >> bit) & 1
    present: Array = bits != 0
    return present


def label(pattern: int, num_modalities: int) -> str:
    """Return the label of a pattern id; the first character is the first modality.

    >>> label(5, 4)
    '1010'
    """
    return "".join("1" if pattern >> bit & 1 else "0" for bit in range(num_modalities))


def parse(text: str) -> int:
    """Return the pattern id of a label.

    Raises:
        UserError: for characters other than 0 and 1, or more of them than `MAX_MODALITIES`.

    >>> parse("1010")
    5
    """
    _require_fit(len(text))
    if set(text) - {"0", "1"}:
        raise UserError(f"pattern label {text!r} must consist of 0 and 1, one character per modality")
    return sum(1 << bit for bit, character in enumerate(text) if character == "1")


def describe(pattern: int, modalities: Sequence[str]) -> str:
    """Return the names of the present modalities of a pattern.

    >>> describe(5, ["labs", "vitals", "notes"])
    'labs + notes'
    """
    names = [name for bit, name in enumerate(modalities) if pattern >> bit & 1]
    return " + ".join(names) or "nothing"


def _require_fit(num_modalities: int) -> None:
    if num_modalities > MAX_MODALITIES:
        raise UserError(f"{num_modalities} modalities do not fit a pattern id; at most {MAX_MODALITIES} do")
