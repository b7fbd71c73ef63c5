"""What is printed at the end of a run, and what `mmnar show` has beside it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmnar_lightning.cli import main
from mmnar_lightning.evaluation.breakdown import (
    MASKED_LABELS,
    DecisionCurve,
    Gap,
    LabelAvailability,
    LabelCounts,
    NetBenefit,
    Subgroups,
    SubgroupScores,
)
from mmnar_lightning.evaluation.cell import MASKED, Cell, Score
from mmnar_lightning.evaluation.results import OffsetTable, Results, TaskScores
from mmnar_lightning.evaluation.results_json import to_json
from mmnar_lightning.metrics.bootstrap import RESAMPLED
from mmnar_lightning.report.summary import furthest, num_parts, show_summary
from tests.helpers.results import cell_of, offset_of, results_of

NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "method": None, "num_defined": 0}
"""A score that is undefined."""


def cell(auroc: float, count: int = 60, *, has_interval: bool = True) -> Cell:
    low, high = (auroc - 0.1, auroc + 0.1) if has_interval else (None, None)
    score = {"value": auroc, "low": low, "high": high, "method": "percentile", "num_defined": 100}
    return cell_of({"count": count, "positives": count // 2, "subjects": count, **dict.fromkeys(RESAMPLED, score)})


def results(**others: object) -> Results:
    before = {
        "death": TaskScores(
            all=cell(0.80, 300),
            patterns={"11": cell(0.81), "10": cell(0.60), "01": cell(0.95), "00": cell(1.0, has_interval=False)},
        ),
        "stay": TaskScores(all=cell(0.70, 300), patterns={"11": cell(0.70), "10": MASKED, "01": cell(0.68)}),
    }
    table = OffsetTable(scale="logit", strength=0.5, patterns={"11": offset_of(tau=0.4, count=40, positives=20)})
    return results_of(**{"tasks": before, "rectified": before, "rectifier": {"death": table}, **others})


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def cells_of(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")][:4] for line in lines if line.startswith("│")]


def test_the_table_has_every_task_and_the_three_patterns_furthest_from_it(capsys) -> None:
    show_summary(results())
    lines = lines_of(capsys)
    assert cells_of(lines) == [
        ["death", "all", "300 (150)", "0.80 (0.70 to 0.90)"],
        ["", "10", "60 (30)", "0.60 (0.50 to 0.70)"],
        ["", "01", "60 (30)", "0.95 (0.85 to 1.05)"],
        ["stay", "all", "300 (150)", "0.70 (0.60 to 0.80)"],
        ["", "01", "60 (30)", "0.68 (0.58 to 0.78)"],
    ]
    assert lines[-1] == "rectifier: death strength 0.5, calibration error 0.800 → 0.800"
    assert sum(line.startswith("┏") for line in lines) == 1


def test_the_rectifier_of_many_tasks_is_one_short_line(capsys) -> None:
    own = results()
    assert own.rectifier is not None
    names = [f"task_{number}" for number in range(8)]
    after = TaskScores(all=replace(cell(0.8), calibration_error=Score(**{**NOTHING, "value": 0.1})), patterns={})
    before = TaskScores(all=replace(cell(0.8), calibration_error=Score(**{**NOTHING, "value": 0.3})), patterns={})
    off = replace(own.rectifier["death"], strength=0.0)
    tables = {name: off if name == "task_0" else own.rectifier["death"] for name in names}
    scored = dict.fromkeys(names, before) | {"task_7": TaskScores(all=MASKED, patterns={})}
    show_summary(results(tasks=scored, rectified=scored | {"task_1": after}, rectifier=tables))
    line = "rectifier: strength above 0 in 7 of 8 tasks, calibration error 0.300 → 0.271 on average over 7 tasks"
    assert lines_of(capsys)[-1] == line


def test_a_pattern_without_an_interval_is_never_among_the_furthest() -> None:
    assert furthest(results().tasks)[0] == ("death", "10")
    assert ("death", "00") not in furthest(results().tasks)


def test_a_hidden_task_is_masked_and_a_target_has_lines_of_its_own(capsys) -> None:
    hidden = {"death": TaskScores(all=MASKED, patterns={"11": MASKED})}
    target = results(dataset="eicu", rectifier=None, rectified=None)
    show_summary(results(tasks=hidden, rectified=hidden, rectifier=None, target=target))
    shown = cells_of(lines_of(capsys))
    assert shown[0][:3] == ["death", "all", "masked"]
    assert shown[1][:3] == ["death at the target (eicu)", "all", "300 (150)"]


def test_the_number_of_test_sets_of_a_protocol() -> None:
    folds = [{"name": "", "seed": seed, "fold": fold} for seed in (0, 1) for fold in (0, 1, 2)]
    assert num_parts(results(protocol="kfold", children=folds)) == 6
    assert num_parts(results(protocol="crossfit", children=folds)) == 2
    patterns = [{"name": "", "seed": 0, "fold": None, "pattern": pattern} for pattern in ("11", "10")]
    assert num_parts(results(protocol="leave_pattern_out", children=patterns)) == 2


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with public results alone."""
    diagnostics = {"decision_tipping_point": {"death": {"11": -0.25, "10": None}, "stay": {"11": 1.0}}}
    found = results(diagnostics=diagnostics, versions={"mimiciv": "3.1"})
    (tmp_path / "results.public.json").write_text(json.dumps(to_json(found)))
    return tmp_path


def test_show_prints_all_that_a_run_has_or_one_topic(run: Path, capsys) -> None:
    assert main(["show", f"run={run}"]) == 0
    whole = lines_of(capsys)
    for says in ("releases: mimiciv 3.1", "before the rectifier", "after the rectifier"):
        assert says in whole
    assert main(["show", "tipping", f"run={run}"]) == 0
    assert cells_of(lines_of(capsys)) == [["11", "-0.25", "+1.00"], ["10", "none", "masked"]]


@pytest.mark.parametrize("topic", ["blend", "groups", "nothing"])
def test_a_topic_that_a_run_lacks_is_refused_with_those_it_has(topic: str, run: Path, capsys) -> None:
    assert main(["show", topic, f"run={run}"]) == 1
    said = capsys.readouterr().out
    assert f"has no '{topic}'; it has origin: " in said
    assert "tipping: tipping points" in said
    assert "blend: " not in said


def test_a_run_without_results_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["show", f"run={tmp_path}"]) == 1
    assert f"`mmnar evaluate run={tmp_path}` writes it" in capsys.readouterr().out


def test_subgroups_decisions_and_known_labels_have_topics(tmp_path: Path, capsys) -> None:
    levels = {"female": cell(0.7, 200), "male": cell(0.8, 100)}
    gap = Gap(higher="male", lower="female", difference=cell(0.1).auroc or Score(**NOTHING), num_levels=2)
    point = NetBenefit(threshold=0.25, model=Score(**{**NOTHING, "value": 0.05}), treat_all=Score(**NOTHING))
    counts = LabelCounts(rows=300, known=240, share=0.8)
    found = results(
        subgroups={
            "sex": Subgroups(
                min_rows=10, tasks={"death": SubgroupScores(levels=levels, pooled=None, gaps={"auroc": gap})}
            )
        },
        net_benefit={"death": DecisionCurve(count=300, positives=150, points=[point])},
        label_availability={"death": LabelAvailability(all=counts, patterns={"11": MASKED_LABELS})},
    )
    (tmp_path / "results.public.json").write_text(json.dumps(to_json(found)))
    assert main(["show", "subgroups", "decisions", "labels", f"run={tmp_path}"]) == 0
    assert cells_of(lines_of(capsys)) == [
        ["death", "female", "200 (100)", "0.70 (0.60 to 0.80)"],
        ["death", "male", "100 (50)", "0.80 (0.70 to 0.90)"],
        ["death", "largest gap", "", "male - female: +0.1000 (+0.0000 to +0.2000)"],
        ["0.25", "+0.0500", "undefined"],
        ["all", "240 of 300"],
        ["11", "masked"],
    ]
