"""What the package writes for the validation by loops, written once for several tests of the loops."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.validation import compare


@contextmanager
def written_once() -> Iterator[None]:
    """Let the package write each modality of a folder's rows once."""
    usual, known = compare.write, dict[tuple[Any, ...], tuple[list[str], Any]]()

    def write(name: str, release: Any, rows: Any, modality: str, scratch: Any) -> tuple[list[str], Any]:
        key = (name, *map(str, release.files.values()), *rows.hash_rows().to_list(), modality)
        if key not in known:
            known[key] = usual(name, release, rows, modality, scratch)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "write", write)
        yield
