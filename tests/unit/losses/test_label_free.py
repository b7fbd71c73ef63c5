"""Reconstruction, contrast and assignment against loops in float64 written from docs/method.md, section 2."""

import math

import pytest
import torch
from torch import Tensor

from mmnar_lightning.losses.assignment import assignment
from mmnar_lightning.losses.contrastive import symmetric_infonce
from mmnar_lightning.losses.reconstruction import reconstruction
from tests.helpers import two_ranks_label_free
from tests.helpers.ranks import run_ranks

ROWS, MODALITIES, WIDTH, TEMPERATURE = 24, 3, 5, 0.2
JUNK = (torch.nan, torch.inf, 1e30)


def draw(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two sides (B, M, D), valid entries (B, M), subjects of one to three rows (B,)."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(ROWS, MODALITIES, WIDTH, generator=generator) for _ in range(2))
    valid = torch.rand(ROWS, MODALITIES, generator=generator) < 0.6
    return first, second, valid, torch.arange(ROWS) // 3 + torch.arange(ROWS) % 2


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))


def infonce_loop(
    first: Tensor, second: Tensor, valid: Tensor, subject: Tensor, temperature: float = TEMPERATURE
) -> float:
    sides = [side.double().tolist() for side in (first, second)]
    per_modality = []
    for m in range(valid.shape[1]):
        rows = [i for i in range(len(subject)) if valid[i, m]]
        if len(rows) < 2:
            continue
        losses = []
        for i in rows:
            for a, b in ((0, 1), (1, 0)):
                compared = [j for j in rows if j == i or subject[j] != subject[i]]
                odds = {j: math.exp(cosine(sides[a][i][m], sides[b][j][m]) / temperature) for j in compared}
                losses.append(-math.log(odds[i] / sum(odds.values())))
        per_modality.append(sum(losses) / len(losses))
    return sum(per_modality) / len(per_modality)


@pytest.mark.parametrize("seed", range(3))
def test_the_contrast_equals_a_plain_loop(seed):
    first, second, valid, subject = draw(seed)
    loss = symmetric_infonce(first, second, valid, subject, TEMPERATURE).item()
    assert loss == pytest.approx(infonce_loop(first, second, valid, subject), rel=1e-5)


def test_rows_of_the_same_subject_are_no_negatives():
    first, second, valid, subject = draw()
    alone = symmetric_infonce(first, second, valid, torch.arange(ROWS), TEMPERATURE)
    assert symmetric_infonce(first, second, valid, subject, TEMPERATURE) < alone
    nobody_else = symmetric_infonce(first, second, valid, torch.zeros(ROWS, dtype=torch.int64), TEMPERATURE)
    assert nobody_else.item() == pytest.approx(0.0, abs=1e-6)


def test_a_modality_with_one_row_is_left_out_of_the_contrast():
    first, second, valid, subject = draw()
    valid[:, 1] = False
    without = symmetric_infonce(first, second, valid, subject, TEMPERATURE)
    valid[4, 1] = True
    assert torch.equal(symmetric_infonce(first, second, valid, subject, TEMPERATURE), without)
    assert without.item() == pytest.approx(infonce_loop(first, second, valid, subject), rel=1e-5)


def test_the_reconstruction_equals_a_plain_loop_and_moves_the_decoder_alone():
    reported, encodings, valid, _ = draw()
    weight = valid * torch.rand(ROWS, MODALITIES, generator=torch.Generator().manual_seed(1))
    reported.requires_grad_()
    encodings.requires_grad_()
    loss = reconstruction(reported, encodings, weight)
    loss.backward()
    total = sum(
        weight[i, m].double() * sum((a - b) ** 2 for a, b in zip(reported[i, m], encodings[i, m], strict=True)) / WIDTH
        for i in range(ROWS)
        for m in range(MODALITIES)
    )
    assert loss.item() == pytest.approx((total / weight.double().sum()).item(), rel=1e-5)
    assert encodings.grad is None
    assert bool(reported.grad[valid].any())


def test_the_assignment_equals_a_plain_loop():
    logits, _, present, _ = draw()
    logits, weight = logits[..., 0], present.float() + 0.5
    total = sum(
        weight[i, m].item() * math.log1p(math.exp(-logits[i, m].item() if present[i, m] else logits[i, m].item()))
        for i in range(ROWS)
        for m in range(MODALITIES)
    )
    expected = total / weight.double().sum().item()
    assert assignment(logits, present, weight).item() == pytest.approx(expected, rel=1e-5)


def compute(name: str, first: Tensor, second: Tensor, valid: Tensor, subject: Tensor) -> Tensor:
    if name == "contrast":
        return symmetric_infonce(first, second, valid, subject, TEMPERATURE)
    if name == "reconstruction":
        return reconstruction(first, second, valid.float())
    return assignment(first[..., 0], valid, valid.float())


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", ["contrast", "reconstruction", "assignment"])
def test_entries_that_take_no_part_change_no_bit(name, junk):
    first, second, valid, subject = draw()
    results = []
    for fill in (0.0, junk):
        sides = [side.masked_fill(~valid[..., None], fill).requires_grad_() for side in (first, second)]
        loss = compute(name, sides[0], sides[1], valid, subject)
        loss.backward()
        results.append((loss.detach(), sides[0].grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("name", ["contrast", "reconstruction", "assignment"])
def test_without_an_entry_the_loss_is_a_differentiable_zero(name):
    first, second, valid, subject = draw()
    first.requires_grad_()
    loss = compute(name, first, second, torch.zeros_like(valid), subject)
    loss.backward()
    assert loss.item() == 0.0
    assert bool((first.grad == 0).all())


@pytest.fixture(scope="module")
def of_two_ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(two_ranks_label_free.run_rank, folder, 2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", two_ranks_label_free.LOSSES)
def test_two_ranks_give_the_loss_and_the_gradient_of_one_process(of_two_ranks, name):
    maps = two_ranks_label_free.weights()
    loss = two_ranks_label_free.compute(name, maps, slice(None))
    loss.backward()
    assert sum(rank[name]["loss"].item() for rank in of_two_ranks) / 2 == pytest.approx(loss.item(), rel=1e-5)
    for position, matrix in enumerate(maps):
        expected = torch.zeros_like(matrix) if matrix.grad is None else matrix.grad
        for rank in of_two_ranks:
            torch.testing.assert_close(rank[name]["gradients"][position], expected, rtol=1e-5, atol=1e-6)
