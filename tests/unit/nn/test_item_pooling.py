"""Several vectors of a row become one."""

import pytest
import torch

from mmnar_lightning.nn.item_pooling import AttentionPooling, MeanPooling, build_pooling

ROW = torch.tensor([0, 0, 0, 2, 3, 3])


def pools() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [MeanPooling(), AttentionPooling(4)]


@pytest.mark.parametrize("pool", pools(), ids=["mean", "attention"])
def test_a_row_without_items_is_zero_one_item_is_itself_and_order_does_not_matter(pool: torch.nn.Module):
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    pooled = pool(vectors, ROW, 5)
    assert pooled.shape == (5, 4)
    assert not pooled[[1, 4]].any()
    torch.testing.assert_close(pooled[2], vectors[3])
    turned = torch.tensor([2, 0, 1, 3, 5, 4])
    torch.testing.assert_close(pool(vectors[turned], ROW, 5), pooled)


def test_attention_is_a_softmax_over_the_items_of_each_row():
    torch.manual_seed(0)
    pool, vectors = AttentionPooling(4), torch.randn(6, 4)
    pooled = pool(vectors, ROW, 4)
    for row in (0, 2, 3):
        own = vectors[row == ROW]
        expected = torch.softmax(pool.score(own).squeeze(1), 0) @ own
        torch.testing.assert_close(pooled[row], expected)
    assert not torch.allclose(pooled, MeanPooling()(vectors, ROW, 4))


def test_scores_that_would_overflow_stay_finite():
    pool = AttentionPooling(4)
    torch.nn.init.constant_(pool.score.get_parameter("0.weight"), 100.0)
    torch.nn.init.constant_(pool.score.get_parameter("2.weight"), 100.0)
    vectors = torch.randn(6, 4, requires_grad=True)
    pool(vectors, ROW, 4).sum().backward()
    assert torch.isfinite(vectors.grad).all()


def test_a_batch_without_items_still_gives_every_parameter_a_gradient():
    pool = build_pooling("attention", 4)
    pool(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 3).sum().backward()
    assert all(parameter.grad is not None for parameter in pool.parameters())
