"""AUROC over the pairs of one group, against a loop over pairs."""

import math

import pytest
import torch

from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics import groups as metrics_of_groups
from mmnar_lightning.metrics.cells import metric_intervals
from mmnar_lightning.metrics.groups import within_groups_auroc


def data(rows=120, groups=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (rows,), generator=generator)
    probability = (torch.rand(rows, generator=generator) * 20).round() / 20
    label = (torch.rand(rows, generator=generator) < 0.2 + 0.4 * probability).long()
    return probability, label, torch.arange(rows) // 2, group


def by_pairs(probability, label, group):
    concordant = pairs = 0.0
    for one in range(len(label)):
        for other in range(len(label)):
            if label[one] == 1 and label[other] == 0 and group[one] == group[other]:
                pairs += 1
                concordant += float(probability[one] > probability[other]) + 0.5 * float(
                    probability[one] == probability[other]
                )
    return concordant / pairs


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_share_of_concordant_pairs_of_one_group(seed) -> None:
    probability, label, subject, group = data(seed=seed)
    found = within_groups_auroc(probability, label, subject, group, num_replicates=200)
    assert found.value == pytest.approx(by_pairs(probability, label, group))
    assert found.low < found.value < found.high
    assert 0 < found.num_parts <= 9


def test_one_group_is_the_auroc_itself_and_singletons_leave_no_pair() -> None:
    probability, label, subject, group = data()
    whole = within_groups_auroc(probability, label, subject, torch.zeros_like(group), num_replicates=1)
    assert whole.value == pytest.approx(functional.auroc(probability, label))
    alone = within_groups_auroc(probability, label, subject, torch.arange(len(label)), num_replicates=100)
    assert math.isnan(alone.value)
    assert math.isnan(alone.low)
    assert alone.num_parts == 0


def test_knowing_the_group_alone_is_worth_nothing_within_and_much_between() -> None:
    group = torch.arange(400) // 100
    probability = group / 4 + 0.1
    label = (torch.arange(400) % 100 < 10 + 25 * group).long()
    assert functional.auroc(probability, label) > 0.7
    assert within_groups_auroc(probability, label, torch.arange(400), group, num_replicates=100).value == 0.5


def test_neither_the_order_of_rows_nor_the_numbers_of_groups_matter() -> None:
    probability, label, subject, group = data()
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(5))
    one = within_groups_auroc(probability, label, subject, group, num_replicates=100)
    other = within_groups_auroc(probability[order], label[order], subject[order], 99 - group[order], num_replicates=100)
    assert other.value == pytest.approx(one.value)
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


def test_rows_of_a_subject_are_drawn_together_so_copies_do_not_narrow_the_interval() -> None:
    probability, label, _, group = data(rows=80, groups=4)
    once = within_groups_auroc(probability, label, torch.arange(80), group, num_replicates=400)
    copies = [column.repeat_interleave(4) for column in (probability, label, torch.arange(80), group)]
    again = within_groups_auroc(*copies, num_replicates=400)
    assert again.value == pytest.approx(once.value)
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=1e-6)
    torn = within_groups_auroc(copies[0], copies[1], torch.arange(320), copies[3], num_replicates=400)
    assert torn.high - torn.low < 0.7 * (once.high - once.low)


@pytest.mark.parametrize("groups", [3, 90])
@pytest.mark.parametrize("rows_of_subject", [1, 3])
def test_with_many_rows_the_analytic_interval_is_that_of_the_bootstrap(monkeypatch, groups, rows_of_subject) -> None:
    probability, label, _, group = data(rows=1500, groups=groups)
    subject = torch.arange(1500) // rows_of_subject
    found = within_groups_auroc(probability, label, subject, group)
    assert found.method == "delong"
    monkeypatch.setattr(metrics_of_groups, "MANY", 1e9)
    drawn = within_groups_auroc(probability, label, subject, group, num_replicates=3000)
    assert drawn.method == "bootstrap"
    assert found.value == drawn.value
    assert found.high - found.low == pytest.approx(drawn.high - drawn.low, rel=0.06)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.005)


def test_the_analytic_interval_of_one_group_is_that_of_a_cell() -> None:
    probability, label, subject, group = data(rows=1500)
    found = within_groups_auroc(probability, label, subject, torch.zeros_like(group))
    cell = metric_intervals(probability, label, subject)["auroc"]
    assert cell.method == found.method == "delong"
    assert (found.value, found.low, found.high) == pytest.approx((cell.value, cell.low, cell.high), abs=1e-12)


def test_a_single_subject_has_no_interval() -> None:
    found = within_groups_auroc(
        torch.tensor([0.1, 0.9]), torch.tensor([0, 1]), torch.zeros(2).long(), torch.zeros(2).long()
    )
    assert found.value == 1.0
    assert math.isnan(found.low)
