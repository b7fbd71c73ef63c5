"""Settings under which a run may be resumed or evaluated."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders
from mmnar_lightning.runs.started import started


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


NAMES = ("20990101-000000-aaaaaa", "slurm-99", "slurm-100", "20250601-000000-aaaaaa", "slurm-9")


def test_the_run_that_was_started_last_is_the_newest_whatever_its_name_and_its_files_times(tmp_path) -> None:
    config = load([f"paths.runs={tmp_path}"])
    made = []
    for name in NAMES:
        os.environ[folders.RUN_ID_VARIABLE] = name
        made.append(folders.named_run(config))
        folders.forget_run()
        assert folders.newest_run(config, folders.CONFIG) == made[-1]
    for age, folder in enumerate(made):
        for path in (*folder.iterdir(), folder):  # as a copy without times would have them
            os.utime(path, (1e9 - age, 1e9 - age))
    assert folders.newest_run(config, folders.CONFIG) == made[-1]


def test_the_unfinished_run_that_was_started_last_is_resumed(tmp_path) -> None:
    config = load([f"paths.runs={tmp_path}"])
    first = folders.new_run(config)
    folders.new_run(config)
    last = folders.new_run(config).rename(first.with_name(f"00000000-{first.name}"))
    assert folders.unfinished_run(config, folders.CONFIG) == last


def test_a_run_keeps_the_time_of_its_first_start(tmp_path) -> None:
    config = load([f"paths.runs={tmp_path}"])
    folder = folders.new_run(config)
    before = started(folder)
    again = load([f"paths.runs={tmp_path}", f"resume={folder}", "resume_with=[optim.lr]", "optim.lr=0.5"])
    assert folders.run_to_resume(again, folders.CONFIG) == folder
    assert list(folder.glob("config-until-start-*.yaml"))
    assert started(folder) == before


def test_runs_of_earlier_versions_are_ordered_by_the_time_in_their_name_or_their_oldest_file(tmp_path) -> None:
    def earlier(name: str, time: float) -> Path:
        folder = tmp_path / name
        (folder / "logs" / "0").mkdir(parents=True)
        (folder / folders.CONFIG).touch()
        for path in (folder / "logs" / "0", folder):
            os.utime(path, (2e9, 2e9))
        os.utime(folder / folders.CONFIG, (time, time))
        return folder

    stamped = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert started(earlier("20250102-030405-abcdef", 1e9)) == stamped
    assert started(earlier("slurm-99", 1e9)) == datetime.fromtimestamp(1e9, UTC)
