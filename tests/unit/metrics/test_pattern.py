import json
import math
import os
from datetime import timedelta
from typing import Any

import pytest
import torch
from sklearn.metrics import log_loss
from torch import distributed

from data_modules import patterns
from data_modules.errors import UserError
from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.pattern import PatternMetric, mask_small_cells
from tests.helpers.ranks import run_ranks

TASKS = ["mortality", "readmission"]
MODALITIES = ["labs", "notes", "ecg"]
LISTED = [1, 3, 7]
METRICS = ["auroc", "average_precision", "brier", "count", "positives"]
BIG = 2**53 - 1000  # neighbours that are equal in float32
NUM_ROWS = 200


def make():
    return PatternMetric(TASKS, MODALITIES, LISTED)


def cohort():
    """Rows of the patterns 0, 1, 3 and 7, of which 0 is not listed; the last task is partly unknown."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(2, (NUM_ROWS, 2), generator=generator).float()
    known = torch.ones(NUM_ROWS, 2, dtype=torch.bool)
    known[::3, 1] = False
    return {
        "row_id": BIG + torch.randperm(NUM_ROWS, generator=generator),
        "subject": torch.arange(NUM_ROWS) // 3,
        "present": patterns.decode(torch.tensor([0, 1, 3, 7])[torch.arange(NUM_ROWS) % 4], 3),
        "logits": (label + 4 * torch.rand(NUM_ROWS, 2, generator=generator)).mul(5).round() / 5 - 2,
        "label": label.where(known, torch.nan),
        "label_mask": known,
    }


def part(index):
    return {name: column[index] for name, column in cohort().items()}


def of_one_process():
    metric = make()
    metric.update(**cohort())
    return metric.compute()


def plain(rows):
    return {name: column.tolist() for name, column in rows.columns.items()}


def shards(scenario, rank):
    """The batches of a rank; both ranks together hold the cohort."""
    index, pattern = torch.arange(NUM_ROWS), patterns.encode(cohort()["present"])
    scenarios: dict[str, Any] = {
        "rank_0_without_rows": [[], [index[:90], index[90:]]],
        "rank_1_without_rows": [[index[:90], index[90:]], []],
        "empty_batch": [[index], [index[:0]]],
        "pattern_on_one_rank": [[index[pattern != 7]], [index[pattern == 7]]],
        "repeated_rows": [[index[:120]], [index[100:], index[:30]]],
        "nobody_has_rows": [[], []],
    }
    return scenarios[scenario][rank]


SCENARIOS = [
    "rank_0_without_rows",
    "rank_1_without_rows",
    "empty_batch",
    "pattern_on_one_rank",
    "repeated_rows",
    "nobody_has_rows",
]


def run_rank(rank, folder):
    """One rank of every scenario; writes what it saw."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store", timedelta(seconds=30), world_size=2, rank=rank)
    seen = {}
    for scenario in SCENARIOS:
        metric = make().to(torch.bfloat16)  # as a precision plugin does to the whole module
        for index in shards(scenario, rank):
            metric.update(**part(index))
        values, again = metric.compute(), metric.compute()
        own = sum(map(len, metric.row_id))
        seen[scenario] = {"values": values, "again": again, "rows": plain(metric.rows()), "own": own}
    seen["late_rows"] = {"values": late_rows(rank)}
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    distributed.destroy_process_group()


def late_rows(rank):
    """Only rank 1 adds rows after the first compute; a cached answer on rank 0 would leave rank 1 waiting."""
    metric = make()
    metric.update(**part(torch.arange(60)))
    metric.compute()
    if rank == 1:
        metric.update(**part(torch.arange(60, NUM_ROWS)))
    return metric.compute()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    run_ranks(run_rank, folder, 2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("scenario", [name for name in [*SCENARIOS, "late_rows"] if name != "nobody_has_rows"])
def test_two_ranks_equal_one_process(two_ranks, scenario, rank):
    assert two_ranks[rank][scenario]["values"] == pytest.approx(of_one_process(), nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "nobody_has_rows"])
def test_rows_are_those_of_one_process_and_states_stay_local(two_ranks, scenario, rank):
    metric = make()
    metric.update(**cohort())
    seen = two_ranks[rank][scenario]
    assert seen["rows"] == plain(metric.rows())
    assert seen["again"] == pytest.approx(seen["values"], nan_ok=True)
    assert seen["own"] == sum(map(len, shards(scenario, rank)))


def test_without_rows_on_any_rank_all_is_undefined(two_ranks):
    for rank in range(2):
        values = two_ranks[rank]["nobody_has_rows"]["values"]
        assert values.keys() == of_one_process().keys()
        assert all(
            value == 0 if "count" in key or "positives" in key else math.isnan(value) for key, value in values.items()
        )


def test_values_are_the_functions_of_the_known_rows():
    values, rows = of_one_process(), cohort()
    for column, task in enumerate(TASKS):
        for suffix, code in {"": None, "/100": 1, "/110": 3, "/111": 7}.items():
            pattern = patterns.encode(rows["present"])
            member = rows["label_mask"][:, column] & (torch.tensor(True) if code is None else pattern == code)
            probability, label = rows["logits"][member, column].double().sigmoid(), rows["label"][member, column]
            expected = {
                "auroc": functional.auroc(probability, label),
                "average_precision": functional.average_precision(probability, label),
                "brier": functional.brier_score(probability, label),
                "count": len(label),
                "positives": int(label.sum()),
            }
            assert {name: values[f"{name}/{task}{suffix}"] for name in METRICS} == pytest.approx(expected)
    assert values["auroc"] == pytest.approx((values["auroc/mortality"] + values["auroc/readmission"]) / 2)
    losses = []
    for place in range(len(TASKS)):
        known = rows["label_mask"][:, place]
        losses.append(log_loss(rows["label"][known, place].numpy(), rows["logits"][known, place].sigmoid().numpy()))
    assert values["log_loss"] == pytest.approx(sum(losses) / 2, abs=1e-6)
    assert values["count/mortality"] == NUM_ROWS
    assert values["count/readmission"] == NUM_ROWS - math.ceil(NUM_ROWS / 3)


def test_keys_are_fixed_by_the_settings():
    expected = {"auroc", "log_loss"} | {
        f"{metric}/{task}{suffix}" for metric in METRICS for task in TASKS for suffix in ("", "/100", "/110", "/111")
    }
    for index in (torch.arange(NUM_ROWS), torch.arange(1), torch.arange(0)):
        metric = make()
        metric.update(**part(index))
        values = metric.compute()
        assert set(values) == expected
        assert all(type(value) is float for value in values.values())


def test_mean_auroc_leaves_undefined_tasks_out():
    rows = cohort()
    rows["label_mask"][:, 1] = False
    metric = make()
    metric.update(**rows)
    values = metric.compute()
    assert math.isnan(values["auroc/readmission"])
    assert values["count/readmission"] == 0
    assert values["auroc"] == values["auroc/mortality"] == of_one_process()["auroc/mortality"]


def test_repeated_rows_count_once_and_the_first_is_kept():
    metric, repeated = make(), part(torch.arange(40))
    metric.update(**cohort())
    metric.update(**{**repeated, "logits": -repeated["logits"]})
    assert metric.compute() == pytest.approx(of_one_process(), nan_ok=True)


@pytest.mark.parametrize("change", ["label", "label_mask"])
def test_refuses_repeated_rows_that_disagree(change):
    negative = cohort()["label"][:, 0].eq(0).nonzero()[0]  # an unknown label is kept as 0 as well
    metric, other = make(), part(negative)
    other[change][:, 0] = 1 - other[change][:, 0] if change == "label" else False
    metric.update(**cohort())
    metric.update(**other)
    with pytest.raises(AssertionError, match=f"row id {int(other['row_id'])} is repeated with different labels"):
        metric.compute()


def test_rows_are_sorted_and_exact():
    metric, rows = make(), cohort()
    for index in torch.arange(NUM_ROWS).split(33):
        metric.update(**part(index))
    order, seen = rows["row_id"].argsort(), metric.rows()
    assert seen.row_id.equal(rows["row_id"][order])
    assert seen.subject.equal(rows["subject"][order])
    assert seen.pattern.equal(patterns.encode(rows["present"])[order])
    assert seen.logits.equal(rows["logits"][order].double())
    assert seen.label_mask.equal(rows["label_mask"][order])
    assert seen.label.equal(rows["label"].nan_to_num()[order].double())


def test_forward_scores_the_batch_and_keeps_the_rows():
    metric = make()
    first = metric(**part(torch.arange(50)))
    metric(**part(torch.arange(50, NUM_ROWS)))
    assert first["count/mortality"] == 50
    assert metric.compute() == pytest.approx(of_one_process(), nan_ok=True)


def test_states_are_flat_float64_and_hold_no_graph():
    metric, rows = make(), cohort()
    metric.update(**{**rows, "logits": rows["logits"].requires_grad_()})
    for name in metric._defaults:
        (state,) = getattr(metric, name)
        assert (state.ndim, state.dtype, state.requires_grad) == (1, torch.float64, False)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("row_id", torch.zeros(3), "must be torch.int64"),
        ("present", torch.ones(3, 2, dtype=torch.bool), r"present has the shape \(3, 2\), expected \(3, 3\)"),
        ("label", torch.ones(2, 2), r"label has the shape \(2, 2\)"),
        ("logits", torch.ones(6), "logits has the shape"),
    ],
)
def test_update_refuses_other_shapes(column, value, message):
    metric = make()
    with pytest.raises(AssertionError, match=message):
        metric.update(**{**part(torch.arange(3)), column: value})


def test_compute_refuses_what_is_no_row():
    metric = make()
    metric.update(**{**part(torch.arange(1)), "row_id": torch.tensor([2**53])})
    with pytest.raises(ValueError, match="too large"):
        metric.rows()
    metric = make()
    metric.update(**{**cohort(), "logits": torch.full((NUM_ROWS, 2), math.nan)})
    with pytest.raises(ValueError, match="probabilities are NaN"):
        metric.compute()


@pytest.mark.parametrize(
    ("tasks", "listed", "message"),
    [(["a/b"], [1], "slash"), (["a", "a"], [1], "differ"), (["a"], [4], r"\[4\]")],
)
def test_refuses_settings_that_make_no_keys(tasks, listed, message):
    with pytest.raises(AssertionError if listed == [4] else UserError, match=message):
        PatternMetric(tasks, ["labs", "notes"], listed)


def masked_values(**counts: tuple[float, float]) -> tuple[dict[str, float], set[str]]:
    """Values with these rows and positives, `task__pattern=(20, 10)`, and the cells that are masked, whole."""
    values = {"auroc": 0.7512, "log_loss": 0.3512, "loss": 3.0}
    for cell, (count, positives) in counts.items():
        found = {"count": count, "positives": positives, "auroc": 0.8, "average_precision": 0.8, "brier": 0.1}
        values |= {f"{name}/{cell.replace('__', '/')}": float(value) for name, value in found.items()}
    masked = mask_small_cells(values, min_count=10)
    assert set(masked) == set(values)
    empty = {key for key, value in masked.items() if math.isnan(value)}
    assert all(masked[key] == values[key] for key in values.keys() - empty if "/" in key)
    cells = {key.partition("/")[2] for key in empty}
    assert empty == {f"{name}/{cell}" for name in METRICS for cell in cells}
    return masked, cells


def test_cells_of_few_rows_positives_or_negatives_are_masked_and_another_from_which_they_would_follow():
    shown = {"death": (170, 85), "death__a": (100, 50), "death__b": (40, 20), "death__c": (30, 15)}
    assert masked_values(**shown)[1] == set()
    for rows, positives in ((9, 4), (30, 9), (30, 21)):
        changed = {"death": (140 + rows, 70 + positives), "death__c": (rows, positives)}
        assert masked_values(**{**shown, **changed})[1] == {"death/b", "death/c"}, (rows, positives)


def test_a_task_with_a_small_total_is_masked_whole_and_does_not_follow_from_the_mean_over_tasks():
    counts = {"death": (50, 5), "death__a": (50, 5), "stay": (50, 20), "stay__a": (50, 20)}
    masked, cells = masked_values(**counts)
    assert cells == {"death", "death/a"}
    assert (masked["auroc"], masked["log_loss"]) == (0.75, 0.35)
    assert masked_values(stay=(50, 20))[0]["auroc"] == 0.7512


def test_patterns_of_a_fold_are_masked_whole_and_its_totals_are_not():
    values = of_one_process()
    masked = mask_small_cells(values, 10, totals_only=True)
    assert {key for key in masked if math.isnan(masked[key])} == {key for key in values if key.count("/") == 2}
