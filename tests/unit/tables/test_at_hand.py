"""The table of finished runs: what `mmnar compare` prints and writes, and what is masked there."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from data_modules.errors import UserError
from mmnar_lightning.commands.compare import compare_runs
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.evaluation.comparison import compare
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.metrics.delong import holm
from mmnar_lightning.report.style import FORMATS
from mmnar_lightning.runs import folders
from tests.helpers.tables import at_hand

STRENGTH = {"mimic/first": 2.0, "trees/second": 0.2, "late/third": 2.0}
NUM_ROWS = 600
SCORING = Scoring(num_replicates=100, seed=0, min_count=10)
Rows = list[dict[str, str]]


def drawn(name: str, *, tasks: tuple[str, ...] = ("death",), **columns: Any) -> pl.DataFrame:
    """Test rows of a run, the same labels for all; every eighth row has another pattern."""
    truth, noise = np.random.default_rng(1), np.random.default_rng(len(name))
    number = np.arange(NUM_ROWS)
    found: dict[str, Any] = {
        "row_id": number,
        "subject_id": [f"s{one // 2}" for one in number],
        "fold": number // 2 % 3,
        "pattern": np.where(number % 8 == 0, "10", "11"),
    }
    for task in tasks:
        label = truth.random(NUM_ROWS) < 0.3
        found |= {f"label/{task}": label, f"logit/{task}": STRENGTH[name] * label + noise.normal(size=NUM_ROWS)}
    return pl.DataFrame({**found, **columns})


def protocol(name: str, **more: Any) -> pl.DataFrame:
    """Test rows of a parent: two seeds of the same rows."""
    return pl.concat([drawn(name, **more).with_columns(seed=pl.lit(seed)) for seed in (0, 1)])


def compared(place: Path, frames: dict[str, pl.DataFrame], *words: str, config: str = "", **results: Any) -> Rows:
    """The lines of table.csv of runs with these predictions."""
    own = [config] if config else []
    runs = [str(at_hand(place / name, rows, *own, **results)) for name, rows in frames.items()]
    folder = compare_runs(load([f"runs=[{','.join(runs)}]", "evaluation.num_replicates=100", *words]))
    with (folder / "table.csv").open() as handle:
        return list(csv.DictReader(handle))


def of(name: str, rows: Rows, **wanted: str) -> dict[str, str]:
    (found,) = [row for row in rows if row["method"] == name and all(row[key] == own for key, own in wanted.items())]
    return found


def test_the_command_prints_the_runs_and_writes_the_files_of_a_table(workplace: Path, capsys) -> None:
    frames = {name: drawn(name) for name in STRENGTH}
    rows = compared(workplace, frames, f"out={workplace / 'out'}")
    said = capsys.readouterr().out
    assert "the first is" in said
    assert "2 tests, corrected together by Holm's method at 0.05" in said
    first, second, third = compare({name: frame.drop("fold") for name, frame in frames.items()}, SCORING)
    assert (first.verdict, second.verdict, third.verdict) == ("not tested", "better", "level")
    whole = of("trees/second", rows, pattern="all")
    own = frames["trees/second"]
    assert float(whole["auroc"]) == pytest.approx(roc_auc_score(own["label/death"], own["logit/death"]), rel=1e-5)
    assert float(whole["difference_low"]) == pytest.approx(-second.difference.high, rel=1e-4)
    assert float(whole["corrected_p"]) == pytest.approx(second.corrected, rel=1e-4)
    assert whole["verdict"] == "worse", "the file is about the run, what is printed about the first"
    assert f"+{second.difference.value:.4f}"[:6] in said
    assert "better" in said
    assert "worse" not in said
    assert [row["pattern"] for row in rows if row["method"] == "mimic/first"] == ["all", "11", "10"]
    written = {path.name for path in (workplace / "out").iterdir()}
    assert written == {"table.csv", "table.md", "table.tex", *(f"table.{name}" for name in FORMATS)}
    text = (workplace / "out" / "table.md").read_text()
    assert "## custom: death" in text
    assert "The difference is that of the method minus `mimic/first`" in text
    assert "labs is dropped: lab.csv.gz is missing." in text
    assert "CPU" not in text + (workplace / "out" / "table.tex").read_text()


def test_without_a_named_folder_the_files_are_in_that_of_the_first_run(workplace: Path) -> None:
    frames = {name: drawn(name) for name in list(STRENGTH)[:2]}
    assert compared(workplace, frames, simulated=True)[0]["cohort"] == "simulated custom"
    assert (workplace / "mimic" / "first" / "comparison" / "table.md").is_file()
    (workplace / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written .*; give another folder by out="):
        compared(workplace / "more", frames, f"out={workplace / 'file'}")


def test_what_cannot_be_compared_is_refused(workplace: Path) -> None:
    run = at_hand(workplace / "own" / "run", drawn("mimic/first"))
    for bad, message in (
        ("runs=[]", "needs two or more different runs"),
        (f"runs=[{run},{run}]", "needs two or more different runs"),
        (f"runs=[{run},{workplace}]", "has no predictions.parquet"),
    ):
        with pytest.raises(ConfigError, match=message):
            compare_runs(load([bad]))
    frames = {"mimic/first": protocol("mimic/first"), "trees/second": drawn("trees/second")}
    with pytest.raises(UserError, match="were not tested on the same rows of death with the same labels and folds"):
        compared(workplace, frames)
    assert not (workplace / "mimic" / "first" / "comparison").exists()


def test_all_tests_of_all_tasks_are_corrected_together(workplace: Path) -> None:
    frames = {name: drawn(name, tasks=("death", "stay")) for name in STRENGTH}
    rows = [row for row in compared(workplace, frames) if row["p"]]
    assert len(rows) == 4
    expected = holm([float(row["p"]) for row in rows]).tolist()
    assert [float(row["corrected_p"]) for row in rows] == pytest.approx(expected, rel=1e-4)


def test_the_model_of_a_single_run_ranks_all_rows_and_those_of_folds_their_own(workplace: Path) -> None:
    alone = drawn("mimic/first")
    frames = {name: drawn(name) for name in list(STRENGTH)[:2]}
    single = of("mimic/first", compared(workplace / "one", frames), pattern="all")
    assert float(single["auroc"]) == pytest.approx(roc_auc_score(alone["label/death"], alone["logit/death"]), rel=1e-5)
    parents = {name: protocol(name) for name in list(STRENGTH)[:2]}
    folded = of("mimic/first", compared(workplace / "several", parents), pattern="all")
    by_fold = [roc_auc_score(own["label/death"], own["logit/death"]) for own in alone.partition_by("fold")]
    assert float(folded["auroc"]) == pytest.approx(np.mean(by_fold), rel=1e-5)
    assert folded["rows"] == single["rows"] == "600"
    assert (single["auroc_sd_folds"], single["auroc_sd_seeds"]) == ("", "")
    assert float(folded["auroc_sd_folds"]) == pytest.approx(np.std(by_fold, ddof=1), rel=1e-5)


def test_small_patterns_are_not_there_and_a_small_task_is_masked(workplace: Path) -> None:
    frames = {name: drawn(name) for name in list(STRENGTH)[:2]}
    rows = compared(workplace / "small", frames, "privacy.min_count=80")
    assert {(row["pattern"], row["rows"]) for row in rows} == {("all", "600")}, "11 would show 10"
    masked = compared(workplace / "masked", frames, "privacy.min_count=250")
    assert {(row["pattern"], row["rows"], row["auroc"], row["verdict"]) for row in masked} == {
        ("all", "", "", "not tested")
    }


def test_a_task_without_positives_is_scored_and_not_tested(workplace: Path, capsys) -> None:
    none = pl.lit(False).alias("label/death")
    frames = {name: drawn(name).with_columns(none) for name in list(STRENGTH)[:2]}
    rows = compared(workplace, frames)
    assert {(row["positives"], row["auroc"], row["p"]) for row in rows} == {("0", "", "")}
    assert all(row["brier_low"] for row in rows)
    assert "0 tests, corrected together" in capsys.readouterr().out


def test_a_run_of_one_fold_shows_totals_alone(workplace: Path) -> None:
    frames = {name: drawn(name, fold=1) for name in list(STRENGTH)[:2]}
    rows = compared(workplace, frames, config="cohort.split.test_fold=1")
    assert [row["pattern"] for row in rows] == ["all", "all"]


def test_a_small_fold_hides_the_task_of_parents_but_not_a_left_out_pattern(workplace: Path) -> None:
    folds = np.where(np.arange(600) < 20, 0, 1)  # fewer than ten positives
    frames = {name: protocol(name, fold=folds) for name in list(STRENGTH)[:2]}
    assert of("mimic/first", compared(workplace / "folds", frames), pattern="all")["rows"] == ""
    left_out = compared(workplace / "patterns", frames, protocol="leave_pattern_out")
    assert of("mimic/first", left_out, pattern="all")["rows"] == "600"


def test_patterns_are_those_of_the_first_run_whatever_the_others_read(workplace: Path) -> None:
    frames = {"mimic/first": drawn("mimic/first"), "trees/second": drawn("trees/second", pattern="1")}
    rows = compared(workplace, frames)
    assert of("trees/second", rows, pattern="10")["rows"] == of("mimic/first", rows, pattern="10")["rows"] == "75"


def test_a_run_with_a_rectifier_is_compared_after_it(workplace: Path) -> None:
    good = drawn("mimic/first")
    frames = {
        "mimic/first": good,
        "trees/second": drawn("trees/second").with_columns(good["logit/death"].alias("rectified/death")),
    }
    assert float(of("trees/second", compared(workplace, frames), pattern="all")["difference"]) == 0
    assert (workplace / "mimic" / "first" / folders.PREDICTIONS).is_file()
