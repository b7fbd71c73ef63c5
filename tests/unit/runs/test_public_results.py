"""results.public.json of a run, of a fold, and of the parent of folds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.evaluation.results import MASKED, Results, TaskScores
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.runs import folders, parent, results
from mmnar_lightning.runs.plan import Child
from tests.helpers.results import results_of


def scored(rows: int, positives: int) -> TaskScores:
    """Scores of rows that all have one pattern."""
    cell = replace(MASKED, count=rows, positives=positives, subjects=rows)
    return TaskScores(all=cell, patterns={"11": cell})


def found(**tasks: tuple[int, int]) -> Results:
    return results_of(tasks={task: scored(*counts) for task, counts in tasks.items()})


@pytest.mark.parametrize(("words", "is_shown"), [([], True), (["cohort.split.test_fold=1"], False)])
def test_the_run_of_a_fold_shows_no_pattern_and_every_other_run_does(words: list[str], is_shown: bool) -> None:
    shown = results.public_of(found(death=(40, 20)), load(["experiment=mimic", *words]))
    assert shown.tasks["death"].all.count == 40
    assert (shown.tasks["death"].patterns["11"].count == 40) is is_shown
    assert shown.masked_below == 10


def test_results_of_an_earlier_version_get_the_public_file_when_they_are_printed(tmp_path: Path) -> None:
    whole, config = found(death=(40, 20), rare=(40, 3)), load(["experiment=mimic"])
    (tmp_path / folders.RESULTS).write_text(json.dumps(to_json(whole)))
    results.print_saved_results(tmp_path, config)
    shown = from_json(Results, json.loads((tmp_path / folders.PUBLIC).read_text()))
    assert shown == results.public_of(whole, config)
    assert shown.tasks["rare"].all == MASKED


@pytest.mark.parametrize(
    ("positives", "withheld"),
    [([20, 20, 20], set()), ([20, 20, 4], {"death"}), ([20, 4, 7], set()), ([20, 4, 5], {"death"})],
)
def test_a_parent_withholds_a_task_from_which_a_small_fold_would_follow(
    positives: list[int], withheld: set[str]
) -> None:
    children = [
        Child(name=f"seed{seed}-fold{fold}", seed=seed, fold=fold) for seed in (0, 1) for fold in range(len(positives))
    ]
    runs = [found(death=(50, number), stay=(50, 25)) for _ in (0, 1) for number in positives]
    assert parent._withheld(children, runs, 10) == withheld
    repeats = [Child(name=f"seed{seed}", seed=seed, fold=None) for seed in range(len(runs))]
    assert parent._withheld(repeats, runs, 10) == set(), "every seed tests the same rows"
