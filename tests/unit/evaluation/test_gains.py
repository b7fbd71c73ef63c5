"""Paired differences of a rectifier, against a plain loop over replicates."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_auc_score

from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.results import Gain
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.metrics import cells
from mmnar_lightning.outputs import ScoredRows
from tests.helpers.results import scored_rows

NUM_ROWS, NUM_REPLICATES = 90, 60
SCORING = Scoring(num_replicates=NUM_REPLICATES, seed=4, min_count=10)


def paired(seed: int) -> tuple[ScoredRows, ScoredRows]:
    """Rows of 30 subjects, some without a label, before and after offsets by pattern."""
    generator = torch.Generator().manual_seed(seed)
    label = (torch.rand(NUM_ROWS, 1, generator=generator) < 0.3).double()
    pattern = torch.randint(1, 4, (NUM_ROWS,), generator=generator)
    logits = 1.5 * label + torch.randn(NUM_ROWS, 1, generator=generator, dtype=torch.float64)
    rows = {
        "row_id": torch.arange(NUM_ROWS),
        "pattern": pattern,
        "probability": logits.sigmoid(),
        "label": label,
        "label_mask": torch.rand(NUM_ROWS, 1, generator=generator) < 0.9,
    }
    before = scored_rows(rows, torch.randint(30, (NUM_ROWS,), generator=generator))
    return before, before.with_logits(before.logits + torch.tensor([0.0, 1.0, -1.0, 0.5])[pattern, None])


def difference(before: ScoredRows, after: ScoredRows, metric, keep: np.ndarray, weight: np.ndarray) -> float:
    label = before.label[keep, 0].numpy()
    one, other = (rows.probability[keep, 0].numpy() for rows in (after, before))
    return metric(label, one, sample_weight=weight) - metric(label, other, sample_weight=weight)


@pytest.mark.parametrize(("name", "metric"), [("auroc", roc_auc_score), ("brier", brier_score_loss)])
def test_a_gain_is_after_minus_before_on_the_same_draws_of_whole_subjects(name, metric, monkeypatch) -> None:
    monkeypatch.setattr(cells, "FEW", 0)
    before, after = paired(0)
    found = gains(before, after, ["death"], SCORING)["death"]
    keep = before.label_mask[:, 0].numpy()
    assert found.count == keep.sum() < NUM_ROWS
    names, place = np.unique(before.subject.numpy()[keep], return_inverse=True)
    drawn = np.random.default_rng(SCORING.seed).integers(len(names), size=(NUM_REPLICATES, len(names)))
    weights = np.array([np.bincount(row, minlength=len(names)) for row in drawn])[:, place]
    replicates = [difference(before, after, metric, keep, weight) for weight in weights]
    score = found.score(name)
    assert score.value == pytest.approx(difference(before, after, metric, keep, np.ones(keep.sum())))
    assert (score.low, score.high) == pytest.approx(tuple(np.quantile(replicates, [0.025, 0.975])))
    assert score.low < score.high
    assert score.num_parts is None


def test_over_folds_a_gain_is_the_mean_of_those_of_the_folds() -> None:
    before, after = paired(1)
    fold = before.subject % 3
    whole = gains(before, after, ["death"], SCORING, fold=fold)["death"]
    parts = [_of(before, after, (fold == number).nonzero().flatten()) for number in range(3)]
    for name in ("auroc", "average_precision", "brier"):
        assert whole.score(name).value == pytest.approx(np.mean([part.score(name).value for part in parts]))
        assert whole.score(name).num_parts == 3


def test_rows_are_counted_once_whatever_the_number_of_repeats() -> None:
    before, after = paired(2)
    twice = torch.arange(NUM_ROWS).repeat(2)
    repeat = torch.arange(2).repeat_interleave(NUM_ROWS)
    again = gains(before.select(twice), after.select(twice), ["death"], SCORING, repeat=repeat)["death"]
    once = gains(before, after, ["death"], SCORING)["death"]
    assert again.count == once.count
    assert again.brier.value == pytest.approx(once.brier.value)
    assert (again.brier.low, again.brier.high) == pytest.approx((once.brier.low, once.brier.high))


def _of(before: ScoredRows, after: ScoredRows, rows: torch.Tensor) -> Gain:
    return gains(before.select(rows), after.select(rows), ["death"], SCORING)["death"]
