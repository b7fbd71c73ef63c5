"""Missingness patterns: presence <-> pattern id <-> pattern label.

The bit order is defined only here. Presence is True where a modality was observed; modality m is bit m of the pattern
id (the first modality is bit 0) and character m of the pattern label, counted from the left.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from data_modules.errors import UserError

MAX_MODALITIES = 62
"""Pattern ids are int64: one bit is the sign and one stays free."""


def encode(present: Tensor) -> Tensor:
    """Turn presence into pattern ids; more than `MAX_MODALITIES` modalities are a `UserError`.

    Args:
        present: (B, M) bool, True = observed.

    Returns:
        (B,) int64 pattern ids.

    >>> encode(torch.tensor([[True, False, True], [False, False, False]])).tolist()
    [5, 0]
    """
    num_modalities = present.shape[-1]
    _require_fit(num_modalities)
    weights = torch.ones(num_modalities, dtype=torch.int64, device=present.device)
    weights = weights << torch.arange(num_modalities, device=present.device)
    return (present.to(torch.int64) * weights).sum(-1)


def decode(pattern: Tensor, num_modalities: int) -> Tensor:
    """Turn pattern ids into presence; more than `MAX_MODALITIES` modalities are a `UserError`.

    Args:
        pattern: (...,) int64 pattern ids.
        num_modalities: M.

    Returns:
        (..., M) bool.

    >>> decode(torch.tensor([5, 0]), 3).tolist()
    [[True, False, True], [False, False, False]]
    """
    _require_fit(num_modalities)
    bits = torch.arange(num_modalities, device=pattern.device)
    return ((pattern.unsqueeze(-1) >> bits) & 1).bool()


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
