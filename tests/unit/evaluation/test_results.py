"""results.json as values: there and back without a loss, and refused where it is of another schema or damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.results import SCHEMA_VERSION, Groups, OffsetTable, Results, Risk, TaskRisks
from mmnar_lightning.evaluation.results_json import ResultsError, from_json, to_json
from mmnar_lightning.evaluation.scores import Scoring, score, score_groups
from mmnar_lightning.evaluation.subgroups import decision_curves, label_availability, score_subgroups
from mmnar_lightning.runs import folders, results
from tests.helpers.results import offset_of, results_of, scored_rows
from tests.unit.evaluation.test_scores import GROUPS, NUM_ROWS, PATTERNS, SUBJECT, TASKS

SCORING = Scoring(num_replicates=100, seed=0, min_count=10)


@pytest.fixture(scope="module")
def whole() -> Results:
    """Results with everything that a run may have, a target among it."""
    generator = torch.Generator().manual_seed(0)
    rows = {
        "row_id": torch.arange(NUM_ROWS),
        "pattern": torch.where(torch.arange(NUM_ROWS) < 53, 3, 1),
        "probability": torch.rand(NUM_ROWS, 2, generator=generator, dtype=torch.float64),
        "label": torch.randint(2, (NUM_ROWS, 2), generator=generator).double(),
        "label_mask": torch.ones(NUM_ROWS, 2, dtype=torch.bool),
    }
    scored = scored_rows(rows, SUBJECT)
    repeat = torch.arange(NUM_ROWS) % 2
    risk = Risk(value=None, low=None, high=None, count=3, labelled=1)
    content = {
        "tasks": score(scored, TASKS, PATTERNS, SCORING),
        "rectified": score(scored, TASKS, PATTERNS, SCORING, repeat=repeat // 2),
        "rectified_gain": gains(scored, scored, TASKS, SCORING, fold=repeat),
        "carried": score(scored, TASKS, PATTERNS, SCORING),
        "carried_gain": gains(scored, scored, TASKS, SCORING),
        "groups": Groups(by="hospital", min_rows=10, tasks=score_groups(scored, GROUPS, TASKS, SCORING)),
        "subgroups": score_subgroups(scored, pl.DataFrame([GROUPS.alias("subgroup/sex")]), TASKS, SCORING),
        "net_benefit": decision_curves(scored, TASKS),
        "label_availability": label_availability(scored, TASKS, PATTERNS),
        "rectifier": {"death": OffsetTable(scale="logit", strength=0.5, patterns={"11": offset_of(tau=0.1, count=3)})},
        "mean_risk": {"death": TaskRisks(all=risk, patterns={"11": risk})},
        "diagnostics": {"decision_tipping_point": {"death": {"11": None}}},
        "checkpoint": {"epoch": 3},
    }
    return results_of(**content, target=results_of(**content))


def test_results_are_the_same_after_a_file(whole: Results, tmp_path: Path) -> None:
    text = json.dumps(to_json(whole), allow_nan=False)
    assert from_json(Results, json.loads(text)) == whole
    (tmp_path / folders.RESULTS).write_text(text)
    assert results.read(tmp_path) == whole
    assert json.loads(text)["schema_version"] == json.loads(text)["target"]["schema_version"] == SCHEMA_VERSION


def test_what_a_run_does_not_have_is_left_out_of_the_file() -> None:
    content = to_json(results_of())
    assert not {"rectified", "groups", "target", "protocol", "children"} & set(content)


def test_only_a_mean_over_parts_has_their_number(whole: Results) -> None:
    content = to_json(whole)
    assert set(content["tasks"]["death"]["all"]["auroc"]) == {"value", "low", "high", "method", "num_defined"}
    assert "num_parts" in content["rectified"]["death"]["all"]["auroc"]
    empty = content["rectified"]["death"]["patterns"]["01"]["auroc"]
    assert (empty["num_parts"], empty["method"]) == (0, None)


def test_a_file_of_schema_3_is_read_without_what_it_lacks(whole: Results) -> None:
    content = {name: part for name, part in to_json(whole).items() if name not in ADDED}
    content["target"] = {name: part for name, part in content["target"].items() if name not in ADDED}
    assert len(content) == len(to_json(whole)) - len(ADDED)
    found = from_json(Results, {**content, "schema_version": 3, "target": {**content["target"], "schema_version": 3}})
    without = dict.fromkeys(ADDED)
    assert found == replace(whole, **without, target=replace(whole.target, **without))


def test_a_file_of_schema_2_is_read_without_what_it_lacks(whole: Results) -> None:
    content = _as_schema_2(to_json(whole))
    assert {"method", "few", "observed_expected"} & set(_keys(content)) == set()
    found = from_json(Results, content)
    assert found.schema_version == SCHEMA_VERSION
    assert found.target is not None
    for read in (found, found.target):
        cell, own = read.tasks["death"].all, whole.tasks["death"].all
        assert cell.auroc is not None
        assert own.auroc is not None
        assert (cell.auroc.value, cell.auroc.low, cell.auroc.method) == (own.auroc.value, own.auroc.low, "bootstrap")
        assert (cell.observed_expected, cell.calibration_slope) == (None, None)
        assert read.intervals.few is None
    empty = found.tasks["stay"].patterns["01"].auroc
    assert empty is not None
    assert empty.method is None


ADDED = ("subgroups", "net_benefit", "label_availability")
"""Fields of schema 4."""
NEW = {*ADDED, "method", "few", "without_interval", "observed_expected", "calibration_slope", "calibration_intercept"}


def _as_schema_2(content: Any) -> Any:
    """What the program of schema 2 wrote: without the new fields, with a metric of all folds beside a mean."""
    if isinstance(content, list):
        return [_as_schema_2(part) for part in content]
    if not isinstance(content, dict):
        return content
    found = {name: _as_schema_2(part) for name, part in content.items() if name not in NEW}
    if "num_parts" in found:
        found["pooled"] = None
    return {**found, "schema_version": 2} if "schema_version" in found else found


def _keys(content: Any) -> list[str]:
    if isinstance(content, list):
        return [name for part in content for name in _keys(part)]
    if not isinstance(content, dict):
        return []
    return [*content, *(name for part in content.values() for name in _keys(part))]


def test_another_schema_is_refused_by_the_file(whole: Results, tmp_path: Path) -> None:
    for version in (None, SCHEMA_VERSION + 1):
        (tmp_path / folders.RESULTS).write_text(json.dumps({**to_json(whole), "schema_version": version}))
        with pytest.raises(ResultsError, match=rf"{tmp_path}/results\.json: .*schema_version={version}, but"):
            results.read(tmp_path)


def test_a_damaged_file_is_refused(whole: Results) -> None:
    content = to_json(whole)
    del content["tasks"]["death"]["all"]["count"]
    with pytest.raises(ResultsError, match=r"results\.json is damaged: Cell cannot be read"):
        from_json(Results, content)
    with pytest.raises(ResultsError, match=r"results\.json is damaged: Results cannot be read"):
        from_json(Results, {**to_json(whole), "surplus": 1})
