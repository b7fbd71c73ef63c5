from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss

from data_modules.batch import Items
from data_modules.errors import UserError
from data_modules.vocabulary import Kind, Modality
from mmnar_lightning.baselines import boosted_trees
from mmnar_lightning.baselines.boosted_trees import BoostedTrees
from mmnar_lightning.baselines.config import BoostedTreesConfig
from tests.helpers.baselines import TASKS, inputs_of, telling_batch
from tests.helpers.batches import take

TRAIN, VAL, TEST = telling_batch(800), telling_batch(300, seed=1), telling_batch(100, seed=2)
SMALL = BoostedTreesConfig(learning_rate=0.2)


def fitted(train=TRAIN, val=VAL, config=SMALL, given=None) -> BoostedTrees:
    trees = BoostedTrees(inputs_of(train, given), config, seed=0)
    trees.fit(train, val)
    return trees


def with_wide(batch, kind: Kind = "vectors", width: int = 80):
    """The first modality is a wide vector of which three directions vary most; the first two predict task a."""
    generator = torch.Generator().manual_seed(int(batch.row_id.sum()))
    said = torch.cat([batch.inputs["m0"], torch.zeros(len(batch), width - 3)], dim=1)
    mixed = 5 * said @ torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(0)))[0]
    noise = 0.1 * torch.randn(len(batch), width, generator=generator)
    given = [Modality(name="m0", kind=kind, width=width), *inputs_of(TRAIN).modalities[1:]]
    return replace(batch, inputs=batch.inputs | {"m0": mixed + noise}), given


def test_the_labels_of_the_test_rows_reach_nothing() -> None:
    other = replace(TEST, label=1 - TEST.label, label_mask=~TEST.label_mask)
    trees = fitted()
    assert torch.equal(trees.predict(other), trees.predict(TEST))


def test_fitting_again_gives_the_same_trees() -> None:
    assert torch.equal(fitted().predict(TEST), fitted().predict(TEST))


def test_a_row_without_a_label_is_as_if_it_were_not_there() -> None:
    known = TRAIN.label_mask[:, 0].nonzero().squeeze(1).tolist()
    labels = replace(TRAIN, label_mask=TRAIN.label_mask[:, :1].expand(-1, 3))
    assert torch.equal(fitted(labels).predict(TEST)[:, 0], fitted(take(labels, known)).predict(TEST)[:, 0])


def test_the_number_of_trees_is_the_best_on_val_and_val_grows_no_tree() -> None:
    trees = fitted()
    for column, task in enumerate(TASKS):
        losses = trees.losses[task]
        assert trees.iterations[task] == int(np.argmin(losses)) + 1
        assert 1 < trees.iterations[task] < boosted_trees.MAX_ITERATIONS
        known = VAL.label_mask[:, column]
        loss = log_loss(VAL.label[known, column], trees.predict(VAL)[known, column])
        assert loss == pytest.approx(losses[trees.iterations[task] - 1])
    fewer = fitted(val=take(VAL, range(100)))
    same = min(len(fewer.losses["a"]), len(trees.losses["a"]))
    columns = trees._columns(TEST)
    stages = [list(made.trees["a"].staged_predict_proba(columns[:, made.measured["a"]])) for made in (trees, fewer)]
    assert all(np.array_equal(one, other) for one, other in zip(stages[0][:same], stages[1][:same], strict=True))


def test_a_fit_stops_when_val_has_not_improved_for_so_many_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosted_trees, "PATIENCE", 5)
    trees = fitted(config=BoostedTreesConfig(learning_rate=0.3))
    assert all(len(losses) < 100 for losses in trees.losses.values())


def test_components_are_those_of_the_train_rows_that_have_the_modality() -> None:
    (train, given), (val, _) = with_wide(TRAIN), with_wide(VAL)
    trees = fitted(train, val, BoostedTreesConfig(num_components=4, learning_rate=0.2), given)
    seen = train.inputs["m0"][train.present[:, 0]].double().numpy()
    np.testing.assert_allclose(trees.reducers["m0"].mean_, seen.mean(0), atol=1e-6)
    expected = PCA(4, svd_solver="full").fit(seen).components_
    np.testing.assert_allclose(np.abs(trees.reducers["m0"].components_[:3]), np.abs(expected[:3]), atol=1e-6)
    columns = trees._columns(val)
    assert columns.shape[1] == 4 + 4 + 5 + 3
    assert np.array_equal(np.isnan(columns[:, :4]).all(1), ~val.present[:, 0].numpy())
    assert np.array_equal(columns[:, -3:], val.present.numpy())


def test_wide_vectors_still_show_what_they_show_and_each_row_alone() -> None:
    (train, given), (val, _), (test, _) = with_wide(TRAIN), with_wide(VAL), with_wide(TEST)
    trees = fitted(train, val, SMALL, given)
    together = trees.predict(test)
    assert torch.equal(torch.cat([trees.predict(take(test, [row])) for row in range(100)]), together)
    seen = test.present[:, 0]
    assert (
        float(together[seen & (test.label[:, 0] == 1), 0].mean() - together[seen & (test.label[:, 0] == 0), 0].mean())
        > 0.3
    )


def test_a_table_is_never_reduced_and_what_was_not_measured_stays_nan() -> None:
    (train, given), (val, _) = with_wide(TRAIN, kind="table"), with_wide(VAL, kind="table")
    train.inputs["m0"][::2, 5] = torch.nan
    train.inputs["m0"][:, 6] = torch.nan
    trees = fitted(train, val, SMALL, given)
    columns = trees._columns(train)
    assert columns.shape[1] == 80 + 4 + 5 + 3
    assert np.isnan(columns[::2, 5]).all()
    assert not trees.measured["a"][6]
    assert trees.measured["a"].sum() == columns.shape[1] - 1


def test_a_modality_that_one_train_row_has_is_left_to_its_presence_and_said() -> None:
    (train, given), (val, _) = with_wide(TRAIN), with_wide(VAL)
    train.present[:, 0] = False
    train.present[0, 0] = True
    trees = fitted(train, val, SMALL, given)
    assert trees._columns(val).shape[1] == 4 + 5 + 3
    assert any("m0" in line for line in trees.remarks)


@pytest.mark.parametrize(
    ("label", "known", "word"), [(0.0, True, "negative"), (1.0, True, "positive"), (0.0, False, "unknown")]
)
def test_one_class_in_train_gives_its_prior_and_is_said(label: float, known: bool, word: str) -> None:
    train = replace(TRAIN, label=TRAIN.label.clone(), label_mask=TRAIN.label_mask.clone())
    train.label[:, 1], train.label_mask[:, 1] = label, known
    trees = fitted(train)
    [line] = trees.remarks
    assert line.startswith("b: all")
    assert word in line
    share = (800 * label + 0.5) / 801 if known else 0.5
    assert trees.predict(TEST)[:, 1].unique().tolist() == pytest.approx([share], abs=1e-4)
    assert trees.iterations["b"] == 0
    assert torch.equal(trees.predict(TEST)[:, 0], fitted().predict(TEST)[:, 0])


def test_val_with_one_class_still_chooses() -> None:
    val = replace(VAL, label=torch.zeros_like(VAL.label))
    assert all(number >= 1 for number in fitted(val=val).iterations.values())


def test_a_task_without_a_known_label_in_val_is_refused() -> None:
    val = replace(VAL, label_mask=VAL.label_mask & torch.tensor([True, False, True]))
    with pytest.raises(UserError, match="b has no known label in val"):
        fitted(val=val)


def test_items_are_refused() -> None:
    items = Items(row=torch.arange(800), values={"windows": torch.zeros(800, 3)})
    modalities = [Modality(name="m0", kind="documents", width=3), *inputs_of(TRAIN).modalities[1:]]
    with pytest.raises(UserError, match=r"^boosted_trees needs one vector per row, but m0 has documents; use a frozen"):
        fitted(replace(TRAIN, inputs=TRAIN.inputs | {"m0": items}), given=modalities)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_leaf_nodes": 1},
        {"num_components": 0},
        {"learning_rate": 0.0},
    ],
)
def test_nonsense_is_refused_by_its_full_key(settings) -> None:
    [(key, value)] = settings.items()
    with pytest.raises(ValueError, match=rf"baseline\.boosted_trees\.{key}={value} must be"):
        BoostedTreesConfig(**settings)
