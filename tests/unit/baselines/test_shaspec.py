"""ShaSpec against a loop over rows and modalities."""

import numpy as np
import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.baselines.config import BaselineConfig, ShaSpecConfig
from tests.helpers.baselines import COUNT, TASKS, telling_batch, without_dropout

BATCH = telling_batch(40)
CONFIG = BaselineConfig(name="shaspec", shaspec=ShaSpecConfig(alignment=0.5, modality=2.0))


def features(made, outputs, row):
    """Shared and specific features of the present modalities of a row."""
    shared, specific = {}, {}
    for m in range(COUNT):
        if BATCH.present[row, m]:
            encoding = outputs.encodings[row, m]
            shared[m] = made.shared(encoding).numpy()
            specific[m] = made.specific[m](encoding).numpy()
    return shared, specific


@torch.no_grad()
def test_it_equals_a_loop_over_rows_and_modalities() -> None:
    made = without_dropout(CONFIG, BATCH).train()
    outputs = made(BATCH)
    weight, bias = made.join.weight.numpy(), made.join.bias.numpy()
    distances, mistaken = [], []
    for row in range(len(BATCH)):
        shared, specific = features(made, outputs, row)
        parts = []
        for m in range(COUNT):
            if m in shared:
                parts.append(shared[m] + weight @ np.concatenate([shared[m], specific[m]]) + bias)
            else:
                parts.append(sum(shared.values()) / len(shared) if shared else np.zeros(len(bias)))
        expected = made.head.weight.numpy() @ np.concatenate(parts) + made.head.bias.numpy()
        np.testing.assert_allclose(outputs.logits[row], expected, atol=2e-4)
        for i in shared:
            score = made.classifier.weight.numpy() @ specific[i] + made.classifier.bias.numpy()
            mistaken.append(np.log(np.exp(score).sum()) - score[i])
            distances += [np.abs(shared[i] - shared[j]).mean() for j in shared if j > i]
    assert set(outputs.terms) == {"alignment", "modality"}
    assert outputs.terms["alignment"].item() == pytest.approx(0.5 * np.mean(distances), rel=1e-4)
    assert outputs.terms["modality"].item() == pytest.approx(2.0 * np.mean(mistaken), rel=1e-4)


def test_a_prediction_has_no_terms() -> None:
    outputs = without_dropout(CONFIG, BATCH).eval()(BATCH)
    assert outputs.terms == {}
    assert outputs.logits.shape == (40, len(TASKS))


@pytest.mark.parametrize("name", ["alignment", "modality"])
@pytest.mark.parametrize("weight", [-0.1, float("inf"), float("nan")])
def test_nonsense_is_refused(name: str, weight: float) -> None:
    with pytest.raises(UserError, match=rf"baseline\.shaspec\.{name}="):
        ShaSpecConfig(**{name: weight})
