"""One regression per pattern: its own rows alone, the pooled one elsewhere, one penalty for all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.logistic_regression import doubled
from mmnar_lightning.baselines.pattern_submodels import PatternSubmodels
from mmnar_lightning.baselines.testing import TASKS, inputs_of, simulated_batch, take
from mmnar_lightning.nn.config import AdditiveConfig

FULL, RARE, UNSEEN = 7, 3, 5


def rows_of(batch: Batch, pattern: int, count: int | None = None) -> list[int]:
    return torch.nonzero(patterns.encode(batch.present) == pattern).flatten().tolist()[:count]


@pytest.fixture(scope="module")
def train() -> Batch:
    """Every pattern but one; one has 40 rows. Labels are all known."""
    batch = replace(simulated_batch(1500), label_mask=torch.ones(1500, len(TASKS), dtype=torch.bool))
    many = [row for code in range(8) if code not in {RARE, UNSEEN} for row in rows_of(batch, code)]
    return take(batch, [*many, *rows_of(batch, RARE, 40)])


def fitted(train: Batch, *inverse: float) -> PatternSubmodels:
    inputs = replace(inputs_of(train), additive=AdditiveConfig(inverse_penalties=list(inverse)))
    model = PatternSubmodels(inputs)
    model.fit(train, simulated_batch(400, seed=1))
    return model


def test_a_pattern_is_predicted_by_a_regression_on_its_own_rows(train) -> None:
    model, test = fitted(train, 1e8), simulated_batch(400, seed=2)
    own, tested = (take(batch, rows_of(batch, FULL)) for batch in (train, test))
    columns, shown = (np.hstack([part.numpy() for part in batch.inputs.values()]) for batch in (own, tested))
    for task in range(2):  # the third depends on nothing that varies within a pattern
        by_hand = LogisticRegression(C=1e8, max_iter=5000, tol=1e-8).fit(columns, own.label[:, task].numpy())
        found = model.predict(tested)[:, task].numpy()
        np.testing.assert_allclose(found, by_hand.predict_proba(shown)[:, 1], atol=0.02)


@pytest.mark.parametrize("pattern", [RARE, UNSEEN])
def test_a_pattern_with_few_rows_or_none_is_predicted_by_all_rows(train, pattern) -> None:
    model = fitted(train, 1.0)
    test = simulated_batch(400, seed=2)
    tested = take(test, rows_of(test, pattern))
    pooled = torch.sigmoid(model.pooled.head.double()(doubled(tested)))
    assert torch.equal(model.predict(tested), pooled.detach())
    full = take(test, rows_of(test, FULL))
    assert not torch.allclose(model.predict(full), torch.sigmoid(model.pooled.head(doubled(full))))


def test_a_pattern_of_one_class_is_predicted_by_all_rows(train) -> None:
    of_full = patterns.encode(train.present) == FULL
    model = fitted(replace(train, label=torch.where(of_full[:, None], 0.0, train.label)), 1.0)
    assert not model.usable[FULL].any()
    assert model.usable[0].any()


def test_held_out_rows_choose_the_penalty_by_the_log_loss_of_what_is_predicted(train) -> None:
    model, val = fitted(train, 0.001, 0.1, 10.0), simulated_batch(400, seed=1)
    for column, task in enumerate(TASKS):
        for place in (1, 2, 3):
            model.choose(task, place)
            known = val.label_mask[:, column]
            said, label = model.predict(val)[known, column], val.label[known, column].double()
            loss = -(label * said.log() + (1 - label) * (1 - said).log()).mean()
            assert float(loss) == pytest.approx(model.losses[task][place - 1], rel=1e-4)
    again = fitted(train, 0.001, 0.1, 10.0)
    assert again.iterations == {task: int(np.argmin(again.losses[task])) + 1 for task in TASKS}


def test_items_are_refused(train) -> None:
    listed = [Modality(name="m0", kind="documents"), *inputs_of(train).modalities[1:]]
    with pytest.raises(UserError, match="pattern_submodels needs one vector per row, but m0 has documents"):
        PatternSubmodels(replace(inputs_of(train), modalities=listed)).fit(train, train)
