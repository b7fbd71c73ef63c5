import json
import math
from dataclasses import replace

import polars as pl
import pytest
import torch

from data_modules import patterns
from mmnar_lightning.evaluation import prediction_table, scores
from mmnar_lightning.evaluation.results import MASKED, TaskScores
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.metrics import cells, functional
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.report import formats
from tests.helpers.results import cell_of, scored_rows

TASKS = ["death", "stay"]
NUM_ROWS = 60
PATTERNS = [3, 1, 2]  # 2 has no test row


@pytest.fixture(scope="module")
def rows() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(NUM_ROWS, 2, generator=generator) < 0.8
    mask[0] = torch.tensor([False, True])
    label = torch.randint(2, (NUM_ROWS, 2), generator=generator).double() * mask
    label[:, 1] = 0.0
    return {
        "row_id": torch.arange(0, 2 * NUM_ROWS, 2),
        "pattern": torch.where(torch.arange(NUM_ROWS) < 53, 3, 1),
        "probability": torch.rand(NUM_ROWS, 2, generator=generator, dtype=torch.float64),
        "label": label,
        "label_mask": mask,
    }


@pytest.fixture(scope="module")
def scored(rows):
    return score(rows)


SUBJECT = torch.arange(NUM_ROWS) // 2


def scoring(seed: int = 0, min_count: int = 10) -> scores.Scoring:
    return scores.Scoring(num_replicates=100, seed=seed, min_count=min_count)


def score(rows, seed: int = 0):
    """As results.json holds them."""
    return to_json(scores.score(scored_rows(rows, SUBJECT), TASKS, PATTERNS, scoring(seed)))


def typed(scored):
    return {task: from_json(TaskScores, found) for task, found in scored.items()}


@pytest.fixture(scope="module")
def predicted(rows) -> pl.DataFrame:
    numbers = range(2 * NUM_ROWS)
    cohort = pl.DataFrame(
        {
            "row_id": pl.Series(numbers, dtype=pl.UInt32),
            "subject_id": [f"s{number // 4}" for number in numbers],
            "split": ["test" if number % 2 == 0 else "train" for number in numbers],
            "fold": [number % 5 for number in numbers],
        }
    )
    return prediction_table.predictions(scored_rows(rows, SUBJECT), cohort, TASKS, torch.tensor(PATTERNS[:1]))


def test_rows_of_a_pattern_that_train_lacks_are_flagged(predicted) -> None:
    flagged = dict(predicted.select("pattern", "unseen_pattern").unique().rows())
    known = patterns.label(PATTERNS[0], 2)
    assert len(flagged) > 1
    assert flagged == {label: label != known for label in flagged}


def test_predictions_have_the_columns_that_architecture_names(predicted):
    expected = ["row_id", "subject_id", "split", "fold", "pattern", "unseen_pattern"]
    for task in TASKS:
        expected += [f"label/{task}", f"logit/{task}", f"probability/{task}"]
    assert predicted.columns == expected
    assert predicted.schema["row_id"] == pl.Int64
    assert predicted.schema["label/death"] == pl.Boolean
    assert predicted.schema["probability/death"] == pl.Float64


def test_predictions_keep_every_row_with_its_subject_and_pattern(rows, predicted):
    assert predicted["row_id"].to_list() == rows["row_id"].tolist()
    assert predicted["split"].unique().to_list() == ["test"]
    assert predicted["subject_id"].to_list() == [f"s{number // 4}" for number in rows["row_id"].tolist()]
    assert predicted["pattern"].to_list() == ["11"] * 53 + ["10"] * 7


def test_an_unknown_label_is_null_in_predictions_and_never_false(rows, predicted):
    for column, task in enumerate(TASKS):
        known = rows["label_mask"][:, column].tolist()
        truth = rows["label"][:, column].bool().tolist()
        expected = [value if seen else None for seen, value in zip(known, truth, strict=True)]
        assert predicted[f"label/{task}"].to_list() == expected
    assert predicted["label/death"].null_count() > 0


def test_the_logit_and_the_probability_of_a_prediction_agree(predicted):
    logit = torch.from_numpy(predicted["logit/death"].to_numpy(writable=True))
    probability = torch.from_numpy(predicted["probability/death"].to_numpy(writable=True))
    torch.testing.assert_close(logit.sigmoid(), probability)


def test_a_cohort_read_without_any_test_row_gives_empty_predictions():
    none = {
        "row_id": torch.zeros(0, dtype=torch.int64),
        "pattern": torch.zeros(0, dtype=torch.int64),
        "probability": torch.zeros(0, 2, dtype=torch.float64),
        "label": torch.zeros(0, 2, dtype=torch.float64),
        "label_mask": torch.zeros(0, 2, dtype=torch.bool),
    }
    cohort = pl.DataFrame({"row_id": [0], "subject_id": ["a"], "split": ["train"], "fold": [0]})
    empty = scored_rows(none, torch.zeros(0, dtype=torch.int64))
    assert prediction_table.predictions(empty, cohort, TASKS, torch.tensor(PATTERNS)).shape == (0, 12)


def test_every_task_and_pattern_is_scored_with_its_counts(rows, scored):
    assert list(scored) == TASKS
    for column, task in enumerate(TASKS):
        assert list(scored[task]["patterns"]) == ["11", "10", "01"]
        known = rows["label_mask"][:, column]
        assert scored[task]["all"]["count"] == int(known.sum())
        assert scored[task]["all"]["positives"] == int(rows["label"][known, column].sum())
        assert scored[task]["all"]["subjects"] == len((torch.arange(NUM_ROWS) // 2)[known].unique())
        assert sum(cell["count"] for cell in scored[task]["patterns"].values()) == scored[task]["all"]["count"]


def test_progress_counts_the_rows_of_every_cell(rows, scored):
    seen: list[float] = []
    scores.score(scored_rows(rows, SUBJECT), TASKS, PATTERNS, scoring(), advance=seen.append)
    counts = [[scored[task]["all"], *scored[task]["patterns"].values()] for task in TASKS]
    assert seen == [cell["count"] for cells in counts for cell in cells]


def test_the_values_are_those_of_the_pure_functions(rows, scored):
    member = rows["label_mask"][:, 0] & (rows["pattern"] == 3)
    cell = scored["death"]["patterns"]["11"]
    for name in ("auroc", "average_precision", "brier"):
        value = getattr(functional, "brier_score" if name == "brier" else name)(
            rows["probability"][member, 0], rows["label"][member, 0]
        )
        assert cell[name]["value"] == pytest.approx(value)


def test_every_defined_metric_has_an_interval_around_it(scored):
    for name in ("auroc", "average_precision", "brier"):
        score = scored["death"]["all"][name]
        assert list(score) == ["value", "low", "high", "method", "num_defined"]
        assert score["low"] < score["value"] < score["high"]
    methods = {name: scored["death"]["all"][name]["method"] for name in METRICS}
    assert methods == {
        "auroc": "newcombe",
        "average_precision": "wilson",
        "brier": "classes",
        "calibration_error": "shrinkage",
        "observed_expected": "score",
        "calibration_slope": "profile",
        "calibration_intercept": "profile",
    }


def test_what_is_undefined_is_none_with_its_count_and_the_whole_is_strict_json(scored):
    one_class = scored["stay"]["all"]
    assert one_class["positives"] == 0
    assert one_class["count"] > 0
    assert one_class["auroc"] == {"value": None, "low": None, "high": None, "method": None, "num_defined": 0}
    assert one_class["brier"]["value"] is not None
    empty = scored["death"]["patterns"]["01"]
    assert (empty["count"], empty["positives"], empty["subjects"]) == (0, 0, 0)
    assert all(empty[name]["value"] is None for name in METRICS)
    assert json.loads(json.dumps(scored, allow_nan=False)) == scored


def test_the_scores_are_a_function_of_rows_and_seed(rows, scored, monkeypatch):
    assert score(rows) == scored
    monkeypatch.setattr(cells, "FEW", 0)
    scored, other = score(rows), score(rows, seed=1)["death"]["all"]["auroc"]
    assert other["value"] == scored["death"]["all"]["auroc"]["value"]
    assert other["low"] != scored["death"]["all"]["auroc"]["low"]


def test_counts_and_reliability_are_those_of_one_repeat_and_subjects_are_counted_once(rows):
    again = {name: torch.cat([column, column]) for name, column in rows.items()}
    subject, repeat = torch.arange(NUM_ROWS).repeat(2) // 2, torch.arange(2).repeat_interleave(NUM_ROWS)
    twice = to_json(scores.score(scored_rows(again, subject), TASKS, PATTERNS, scoring(), repeat=repeat))
    once = score(rows)
    for task in TASKS:
        cells = {"all": twice[task]["all"], **twice[task]["patterns"]}
        for name, cell in cells.items():
            expected = once[task]["all"] if name == "all" else once[task]["patterns"][name]
            for key in ("count", "positives", "subjects", "reliability"):
                assert cell[key] == expected[key], (task, name, key)
            assert sum(cell["reliability"]["count"]) == cell["count"]


def test_the_printed_table_leaves_masked_cells_out_and_says_what_is_undefined(scored):
    death = typed(scored)["death"]
    table = formats.table_rows(replace(death, patterns={**death.patterns, "10": MASKED, "01": MASKED}))
    assert [row[0] for row in table] == ["all", "11"]
    assert len(table[0]) == 2 + len(RESAMPLED)
    value = scored["death"]["all"]["auroc"]
    assert table[0][2] == f"{value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
    assert formats.table_rows(typed(scored)["stay"])[0][2] == "undefined"
    metrics = [scored["death"]["all"][name] for name in METRICS]
    assert not any(math.isnan(score["value"] or 0.0) for score in metrics)


GROUPS = pl.Series(["7"] * 30 + ["a"] * 20 + ["b"] * 4 + ["c"] * 3 + [None] * (NUM_ROWS - 57))


def grouped(rows, **settings):
    return to_json(scores.score_groups(scored_rows(rows, SUBJECT), GROUPS, TASKS, scoring(**settings)))


def test_every_known_row_is_in_one_group_and_small_groups_are_reported_together(rows) -> None:
    for column, task in enumerate(TASKS):
        found = grouped(rows)[task]
        known = rows["label_mask"][:, column]
        for name, cell in found["groups"].items():
            member = known & torch.tensor((GROUPS.fill_null("unknown") == name).to_list())
            assert cell["count"] == int(member.sum()) >= 10
            assert cell["positives"] == int(rows["label"][member, column].sum())
            assert cell["brier"]["low"] <= cell["brier"]["value"] <= cell["brier"]["high"]
        assert found["pooled"]["groups"] >= 2
        total = sum(cell["count"] for cell in found["groups"].values()) + found["pooled"]["count"]
        assert total == int(known.sum())
        counts = [cell["count"] for cell in found["groups"].values()]
        assert counts == sorted(counts, reverse=True)


def test_within_groups_is_undefined_where_a_task_has_one_class(rows) -> None:
    assert grouped(rows)[TASKS[1]]["within"] == {
        "groups": 0,
        "count": 0,
        "auroc": {"value": None, "low": None, "high": None, "method": None, "num_defined": 0},
    }
    within, known = grouped(rows)[TASKS[0]]["within"], rows["label_mask"][:, 0]
    assert 0 < within["auroc"]["value"] < 1
    label: dict[str, list[float]] = {name: [] for name in GROUPS.fill_null("unknown")}
    for name, value, is_known in zip(GROUPS.fill_null("unknown"), rows["label"][:, 0].tolist(), known, strict=True):
        label[name] += [value] * bool(is_known)
    assert within["count"] == sum(len(values) for values in label.values() if len(set(values)) == 2)


def test_grouped_scores_compare_no_rows_of_two_folds() -> None:
    """Noise, with a shift of each fold's model against the fold's rate: ranked together, it is worse than chance."""
    generator = torch.Generator().manual_seed(0)
    number, fold = torch.arange(6000) % 3, torch.arange(6000) // 3 % 5
    rate = torch.tensor([0.2, 0.3, 0.4, 0.5, 0.6])[fold]
    noise = torch.rand(6000, generator=generator, dtype=torch.float64)
    rows = {
        "row_id": torch.arange(6000),
        "pattern": torch.full((6000,), 3),
        "probability": ((noise - 2 * rate) / 4 + 0.5).unsqueeze(1),
        "label": (torch.rand(6000, generator=generator) < rate).double().unsqueeze(1),
        "label_mask": torch.ones(6000, 1, dtype=torch.bool),
    }
    given = scored_rows(rows, torch.arange(6000)), pl.Series(number.tolist()).cast(pl.String), ["death"], scoring()
    apart, together = scores.score_groups(*given, fold)["death"], scores.score_groups(*given)["death"]
    for found, near in ((apart, 0.5), (together, 0.36)):
        aurocs = [found.within.auroc, *(cell.auroc for cell in found.groups.values())]
        assert [one.value for one in aurocs if one is not None] == pytest.approx([near] * 4, abs=0.03)
    assert apart.within.count == 6000
    assert apart.within.groups == 3
    assert {cell.auroc.num_parts for cell in apart.groups.values() if cell.auroc is not None} == {5}


def test_cells_without_an_interval_are_counted_by_metric() -> None:
    one, none = ({"value": 0.5, "low": low, "high": low, "method": None, "num_defined": 0} for low in (0.4, None))
    undefined = {**none, "value": None}
    cells_of = [cell_of({"auroc": auroc, "brier": one}) for auroc in (one, none, none, undefined)]
    assert scores.without_interval(cells_of) == {"auroc": pytest.approx(2 / 3)}


def test_no_group_is_pooled_where_every_size_is_large_enough(rows) -> None:
    found = grouped(rows, min_count=1)[TASKS[0]]
    assert found["pooled"] is None
    assert set(found["groups"]) == {"7", "a", "b", "c", "unknown"}


def test_predictions_bear_the_group_where_the_cohort_has_any(rows) -> None:
    numbers = range(2 * NUM_ROWS)
    cohort = pl.DataFrame(
        {"row_id": numbers, "subject_id": "s", "split": "test", "fold": 0, "hospital_id": [None, *numbers[1:]]}
    )
    predicted = prediction_table.predictions(scored_rows(rows, SUBJECT), cohort, TASKS, torch.tensor(PATTERNS))
    assert predicted["group"].to_list() == [None, *(f"H{number:03d}" for number in numbers[2::2])]
