import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from data_modules import patterns
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.config import AdditiveConfig, FusionConfig, ModelConfig
from tests.helpers.batches import DIM, NUM_TASKS, fill_absent, make_batch, modalities
from tests.unit.test_model import every_pattern

PATTERNS = [3, 1, 2]


def head(axes: dict | None = None) -> AdditiveHead:
    return AdditiveHead(modalities(2), PATTERNS, NUM_TASKS, axes or {})


def test_it_starts_from_the_logistic_regression_of_each_task():
    batch = make_batch(every_pattern(2, repeats=40))
    axes = {"m1": torch.linalg.qr(torch.randn(4, 2, generator=torch.Generator().manual_seed(0))).Q}
    started = head(axes)
    started.fit(started.features(batch), batch.label, batch.label_mask, 0.5)
    shown = [batch.inputs[f"m{m}"] * batch.present[:, m, None] for m in range(2)]
    own = (patterns.encode(batch.present)[:, None] == torch.tensor(sorted(PATTERNS))).float()
    columns = torch.cat([shown[0], shown[1] @ axes["m1"], own], dim=1).double().numpy()
    for task in range(NUM_TASKS):
        known = batch.label_mask[:, task].numpy()
        fitted = LogisticRegression(C=0.5, max_iter=1000).fit(columns[known], batch.label[known, task].numpy())
        found = started(batch)[:, task].detach().numpy()
        np.testing.assert_allclose(found, fitted.decision_function(columns), rtol=1e-3, atol=1e-3)


def test_an_absent_input_and_a_pattern_of_its_own_add_nothing():
    batch = make_batch(every_pattern(2))
    torch.manual_seed(0)
    added = head()
    torch.nn.init.normal_(added.linear.weight)
    assert torch.equal(added(batch), added(fill_absent(batch, torch.nan)))
    nothing = ~batch.present.any(1)  # pattern 0 is not listed
    assert torch.equal(added(batch)[nothing], added.linear.bias.expand(int(nothing.sum()), -1))


def test_a_task_with_one_class_stays_at_zero():
    batch = make_batch(every_pattern(2, repeats=5))
    batch.label[:, 0] = 1.0
    started = head()
    started.fit(started.features(batch), batch.label, batch.label_mask, 1.0)
    assert bool((started.linear.weight[0] == 0).all())
    assert bool((started.linear.weight[1] != 0).any())


def test_a_model_with_it_begins_as_the_additive_head_alone_and_learns_more():
    config = ModelConfig(
        fusion=FusionConfig(dim=DIM, num_heads=4, num_blocks=1, dropout=0.0),
        additive=AdditiveConfig(inverse_penalty=1.0),
    )
    torch.manual_seed(0)
    model = MMNARModel(modalities(2), NUM_TASKS, config, patterns=PATTERNS)
    torch.nn.init.normal_(model.additive.linear.weight)
    batch = make_batch(every_pattern(2))
    assert torch.equal(model(batch).logits, model.additive(batch))
    model(batch).logits.square().sum().backward()
    assert any(bool(parameter.grad.any()) for parameter in model.heads.heads.parameters())
