"""Missingness patterns: presence <-> pattern <-> pattern label, and the id by which arrays compare patterns.

The bit order is defined only here. Presence is True where a modality was observed; modality m is bit m of the pattern
(the first modality is bit 0) and character m of the pattern label, counted from the left. A pattern is a Python integer
of any width. Arrays hold its id, an int64: the pattern itself below 2^62, beyond it a hash, which is negative. They are
of numpy or of torch: the operators used are those that both have, so the stages before the model need no torch.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from data_modules.errors import UserError

EXACT = 62
"""Modalities whose patterns are their own ids: one bit of an int64 is the sign and one stays free."""
OTHERS = "others"
"""Label of the patterns without a cell of their own."""
REST = -(2**63)
"""Stands for these patterns in a list of patterns; no id has this value."""

WORD, MODULUS = 30, 2**31 - 1
"""Bits of a word of the hash, and the prime of its polynomials: products stay below 2^62."""
BASES = (1_103_515_245, 1_812_433_253)
"""Where the two polynomials of a hash are evaluated; together they are an id of 62 bits."""

Array = TypeVar("Array")
"""An array of numpy or a tensor of torch; the result is of the same library, on the same device."""


def encode(present: Array) -> Array:
    """Turn presence into pattern ids.

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
    ids = _word(columns, 0, min(EXACT, num_modalities))
    if num_modalities > EXACT:
        words = [_word(columns, start, min(start + WORD, num_modalities)) for start in range(0, num_modalities, WORD)]
        wide = columns[..., EXACT:].any(-1)
        ids = ids * ~wide + _hash(words) * wide
    found: Array = ids
    return found


def _word(columns: Any, start: int, stop: int) -> Any:
    """The bits of some modalities as int64."""
    word = columns[..., :0].sum(-1)  # int64 zeros in both libraries
    for bit in range(start, stop):
        word = word + columns[..., bit] * (1 << (bit - start))
    return word


def _hash(words: Sequence[Any]) -> Any:
    """Hash the words of a pattern, the lowest first; words of zeros at the end change nothing."""
    first = second = words[0] * 0
    for word in reversed(words):
        first, second = (first * BASES[0] + word) % MODULUS, (second * BASES[1] + word) % MODULUS
    return -1 - first * (MODULUS + 1) - second


def key(pattern: int) -> int:
    """Return the id of a pattern, as `encode` does; an id is its own.

    >>> key(5), key(2**70 + 1) < 0, key(key(2**70 + 1)) == key(2**70 + 1)
    (5, True, True)
    """
    if pattern < 2**EXACT:
        return pattern
    words, left = [], pattern
    while left:
        left, word = divmod(left, 2**WORD)
        words.append(word)
    found: int = _hash(words)
    return found


def decode(pattern: Array, num_modalities: int) -> Array:
    """Turn pattern ids into presence.

    Args:
        pattern: (...,) int64 pattern ids.
        num_modalities: M, at most `EXACT`: a hash has no way back.

    Returns:
        (..., M) bool.

    >>> import numpy as np
    >>> decode(np.array([5, 0]), 3).tolist()
    [[True, False, True], [False, False, False]]
    """
    assert num_modalities <= EXACT, "the ids of wider patterns are hashes"
    ids: Any = pattern
    bits = ids[..., None][..., [0] * num_modalities]  # a copy of the ids for each modality
    for bit in range(num_modalities):
        bits[..., bit] = (ids >> bit) & 1
    present: Array = bits != 0
    return present


def members(ids: Array, patterns: Iterable[int], num_modalities: int) -> dict[str, Array]:
    """Find the rows of some patterns.

    Args:
        ids: (N,) int64 pattern ids of rows.
        patterns: each once; `REST` stands for all that are not listed.
        num_modalities: M.

    Returns:
        Pattern label -> (N,) bool, in the given order.

    >>> import numpy as np
    >>> {name: own.tolist() for name, own in members(np.array([5, 1, 5]), [5, REST], 3).items()}
    {'101': [True, False, True], 'others': [False, True, False]}
    """
    rows: Any = ids
    rest = rows * 0 == 0
    found: dict[str, Array] = {}
    for pattern in patterns:
        own = rest if pattern == REST else rows == key(pattern)
        found[label(pattern, num_modalities)] = own
        rest = rest & ~own
    return found


def label(pattern: int, num_modalities: int) -> str:
    """Return the label of a pattern; the first character is the first modality.

    >>> label(5, 4)
    '1010'
    """
    if pattern == REST:
        return OTHERS
    assert pattern >= 0, "a hash has no label"
    return "".join("1" if pattern >> bit & 1 else "0" for bit in range(num_modalities))


def labels(present: Any) -> list[str]:
    """Return the label of each row of presence, (N, M) bool.

    >>> import numpy as np
    >>> labels(np.array([[True, False], [True, True]]))
    ['10', '11']
    """
    return ["".join("1" if observed else "0" for observed in row) for row in present.tolist()]


def parse(text: str) -> int:
    """Return the pattern of a label.

    Raises:
        UserError: for characters other than 0 and 1.

    >>> parse("1010")
    5
    """
    if text == OTHERS:
        return REST
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
