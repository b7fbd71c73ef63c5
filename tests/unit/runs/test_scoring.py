"""Several predictions are scored together, and the progress of it ends where its bar does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from mmnar_lightning.evaluation.scores import Scoring, score
from mmnar_lightning.runs import scoring
from tests.helpers.results import scored_rows

ROWS = 40


def test_the_bar_counts_the_rows_of_all_cells_that_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    totals: list[float] = []
    advanced: list[float] = []

    @contextmanager
    def progress(what: str, total: int, after: float) -> Iterator[Callable[[float], None]]:
        totals.append(total)
        yield advanced.append

    monkeypatch.setattr(scoring, "progress", progress)
    generator = torch.Generator().manual_seed(0)
    rows = {
        "row_id": torch.arange(ROWS),
        "pattern": torch.where(torch.arange(ROWS) < 30, 3, 1),
        "probability": torch.rand(ROWS, 1, generator=generator, dtype=torch.float64),
        "label": torch.randint(2, (ROWS, 1), generator=generator).double(),
        "label_mask": torch.arange(ROWS)[:, None] % 5 != 0,
    }
    before = scored_rows(rows, torch.arange(ROWS))
    versions = {"before": before, "after": before.with_logits(before.logits * 2 * before.present[:, :1] - 1)}
    settings = Scoring(num_replicates=100, seed=0, min_count=10)
    found = scoring.score_each(versions, ["death"], [3], settings)
    assert found == {name: score(version, ["death"], [3], settings) for name, version in versions.items()}
    assert found["before"] != found["after"]
    assert totals == [sum(advanced)] == [2 * (32 + 24)]  # rows of pattern 1 have no cell of their own
