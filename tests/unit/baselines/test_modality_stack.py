"""The stack of modalities: level two sees only logits of rows that level one did not."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from mmnar_lightning.baselines.modality_stack import ModalityStack
from mmnar_lightning.rectifier.gate import folds
from tests.helpers.baselines import TASKS, inputs_of, telling_batch

CANDIDATES = [1.0]
"""One penalty of level one, so that the reference need not choose."""


def fitted(train, val) -> ModalityStack:
    inputs = inputs_of(train)
    model = ModalityStack(replace(inputs, additive=replace(inputs.additive, inverse_penalties=CANDIDATES)))
    model.fit(train, val)
    return model


def scaled(train, place):
    """Rows that have a modality, its values, and the factor that gives them a total variance of 1."""
    own = train.present[:, place].numpy()
    values = train.inputs[f"m{place}"].double().numpy()
    return own, values, 1 / np.sqrt(values[own].var(0).sum())


def test_it_equals_a_loop_over_modalities_folds_and_tasks() -> None:
    train, val, test = telling_batch(900), telling_batch(300, seed=1), telling_batch(100, seed=2)
    model, number = fitted(train, val), folds(train.subject.numpy())
    present = [batch.present.double().numpy() for batch in (train, test)]
    for column, task in enumerate(TASKS):
        label, known = train.label[:, column].numpy(), train.label_mask[:, column].numpy()
        unseen, tested = np.zeros((900, 3)), np.zeros((100, 3))
        for place in range(3):
            own, values, scale = scaled(train, place)
            for fold in range(5):
                held = own & (number == fold)
                part = 1 / np.sqrt(values[own & (number != fold)].var(0).sum())
                rows = own & known & (number != fold)
                alone = LogisticRegression(C=1.0, max_iter=1000).fit(_with_one(values[rows] * part), label[rows])
                unseen[held, place] = alone.decision_function(_with_one(values[held] * part))
            alone = LogisticRegression(C=1.0, max_iter=1000)
            alone.fit(_with_one(values[own & known] * scale), label[own & known])
            shown = test.present[:, place].numpy()
            new = test.inputs[f"m{place}"].double().numpy()[shown]
            tested[shown, place] = alone.decision_function(_with_one(new * scale))
        inverse = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)[model.iterations[task] - 1]
        above = LogisticRegression(C=inverse, max_iter=1000)
        above.fit(np.hstack([unseen, present[0]])[known], label[known])
        expected = above.predict_proba(np.hstack([tested, present[1]]))[:, 1]
        np.testing.assert_allclose(model.predict(test)[:, column].numpy(), expected, atol=2e-3)


def _with_one(values):
    """The column of the only pattern, which is penalised as the others are."""
    return np.hstack([values, np.ones((len(values), 1))])


def test_a_modality_of_noise_gets_no_weight_because_its_logits_are_of_rows_it_did_not_see() -> None:
    train, val = telling_batch(300), telling_batch(300, seed=1)
    generator = torch.Generator().manual_seed(3)
    noisy = [
        replace(batch, label=(torch.rand(batch.label.shape, generator=generator) < 0.5).float())
        for batch in (train, val)
    ]
    model = fitted(*noisy)
    assert model.paths[:, -1, :3].mean() < 0.3, "logits of seen rows would get a weight of about one"


def test_it_is_restored_from_what_it_stores() -> None:
    train, test = telling_batch(300), telling_batch(50, seed=2)
    model = fitted(train, telling_batch(200, seed=1))
    again = ModalityStack(model.inputs)
    again.restore(model.store())
    assert again.predict(test).equal(model.predict(test))
