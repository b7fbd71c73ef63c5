"""Settings under which a run may be resumed or evaluated."""

from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders


def test_inner_folds_are_those_of_the_run_because_they_decide_what_is_trained(tmp_path: Path) -> None:
    here = f"paths.runs={tmp_path}"
    folder = folders.new_run(load([here, "evaluation.inner_folds=3", "evaluation.inner_repeats=2"]))
    (folder / "checkpoints").mkdir()
    (folder / folders.LAST).touch()
    with pytest.raises(ConfigError, match=r"evaluation\.inner_folds: 3 before, 5 now"):
        folders.run_to_resume(load([here, f"resume={folder}", "evaluation.inner_folds=5"]), folders.LAST)
    assert folders.unfinished_run(load([here]), folders.LAST) is None
    found = folders.settings_of(folder, load([here, "evaluation.num_replicates=200"])).evaluation
    assert (found.inner_folds, found.inner_repeats, found.num_replicates) == (3, 2, 200)


@pytest.mark.parametrize(
    ("saved", "now", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_a_blend_is_reported_if_the_run_or_its_evaluation_asks_for_it(tmp_path, saved, now, expected) -> None:
    given = {value: f"evaluation.blend={str(value).lower()}" for value in (True, False)}
    folder = folders.new_run(load([f"paths.runs={tmp_path}", given[saved]]))
    assert folders.settings_of(folder, load([given[now]])).evaluation.blend is expected


@pytest.mark.parametrize(
    ("saved", "now", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_parts_are_compared_if_the_run_or_its_evaluation_asks_for_it(tmp_path, saved, now, expected) -> None:
    given = {value: f"diagnostics.parts={str(value).lower()}" for value in (True, False)}
    folder = folders.new_run(load([f"paths.runs={tmp_path}", given[saved]]))
    assert folders.settings_of(folder, load([given[now]])).diagnostics.parts is expected
