import math

import pytest
import torch
from sklearn.metrics import log_loss

from mmnar_lightning.losses.multitask import masked_cross_entropy
from tests.helpers.ranks import run_ranks
from tests.helpers.two_ranks_multitask import WORLD_SIZE, data, run_rank, weighted

NUM_ROWS, NUM_TASKS = 40, 3


def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(NUM_ROWS, NUM_TASKS, generator=generator)
    label = torch.randint(2, (NUM_ROWS, NUM_TASKS), generator=generator).float()
    known = torch.rand(NUM_ROWS, NUM_TASKS, generator=generator) < 0.6
    return logits, label, known


def test_the_loss_equals_scikit_learns_over_the_known_labels():
    logits, label, known = rows()
    loss = masked_cross_entropy(logits, label, known)
    for task in range(NUM_TASKS):
        chosen = known[:, task]
        expected = log_loss(label[chosen, task].numpy(), logits[chosen, task].double().sigmoid().numpy())
        assert loss[task].item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_equals_a_plain_loop():
    logits, label, known = rows()
    loss = masked_cross_entropy(logits, label, known)
    for task in range(NUM_TASKS):
        terms = [
            math.log1p(math.exp(-logit if truth else logit))
            for logit, truth, seen in zip(
                logits[:, task].tolist(), label[:, task].tolist(), known[:, task].tolist(), strict=True
            )
            if seen
        ]
        assert loss[task].item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_weighted_rows_are_a_weighted_mean_whatever_their_scale():
    logits, label, known = rows()
    weight = torch.rand(NUM_ROWS, generator=torch.Generator().manual_seed(1)) + 0.1
    loss = masked_cross_entropy(logits, label, known, weight=weight)
    for task in range(NUM_TASKS):
        chosen = known[:, task]
        expected = log_loss(
            label[chosen, task].numpy(),
            logits[chosen, task].double().sigmoid().numpy(),
            sample_weight=weight[chosen].numpy(),
        )
        assert loss[task].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(masked_cross_entropy(logits, label, known, weight=weight / 1000), loss)
    torch.testing.assert_close(
        masked_cross_entropy(logits, label, known, weight=torch.ones(NUM_ROWS)),
        masked_cross_entropy(logits, label, known),
    )


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -1.0])
def test_unknown_labels_leak_neither_forward_nor_backward(junk):
    logits, label, known = rows()
    results = []
    for filled in (label, label.masked_fill(~known, junk)):
        leaf = logits.clone().requires_grad_()
        loss = masked_cross_entropy(leaf, filled, known)
        loss.sum().backward()
        results.append((loss.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert bool((results[1][1][~known] == 0).all())
    assert bool((results[1][1][known] != 0).all())


def test_a_task_without_a_known_label_is_a_differentiable_zero():
    logits, label, known = rows()
    known[:, 1] = False
    leaf = logits.requires_grad_()
    loss = masked_cross_entropy(leaf, label, known)
    loss.sum().backward()
    assert loss[1].item() == 0.0
    assert bool((leaf.grad[:, 1] == 0).all())
    assert bool(leaf.grad[:, 0].any())


def test_a_batch_without_rows_is_a_differentiable_zero():
    leaf = torch.zeros(0, NUM_TASKS, requires_grad=True)
    loss = masked_cross_entropy(leaf, torch.zeros(0, NUM_TASKS), torch.zeros(0, NUM_TASKS, dtype=torch.bool))
    loss.sum().backward()
    assert loss.tolist() == [0.0] * NUM_TASKS


def test_extreme_logits_give_a_finite_loss_and_gradient():
    leaf = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    loss = masked_cross_entropy(leaf, torch.tensor([[0.0], [1.0]]), torch.ones(2, 1, dtype=torch.bool))
    loss.sum().backward()
    assert loss.item() == pytest.approx(200.0)
    assert leaf.grad.flatten().tolist() == pytest.approx([0.5, -0.5])


def test_two_ranks_with_uneven_label_masks_equal_one_process_in_value_and_gradient(tmp_path):
    run_ranks(run_rank, tmp_path, WORLD_SIZE)
    inputs, label, known = data()
    weight = torch.full((4, 3), 0.1, requires_grad=True)
    loss = masked_cross_entropy(inputs @ weight, label, known) + weighted(inputs @ weight, label, known, slice(0, 20))
    loss.sum().backward()
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]
    torch.testing.assert_close(torch.stack([rank["loss"] for rank in found]).mean(0), loss.detach())
    for rank in found:
        torch.testing.assert_close(rank["gradient"], weight.grad)
