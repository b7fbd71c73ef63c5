"""The run that a command takes if it names none."""

import os
from pathlib import Path

import pytest

from data_modules import locks
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders
from mmnar_lightning.runs.newest import run_of


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Path]:
    """Runs of several experiments, each started after the one before."""
    (tmp_path / "mine.yaml").write_text("dataset: custom\n")
    words = {
        "old": ["dataset=mimic"],
        "mine": [f"experiment={tmp_path / 'mine.yaml'}"],
        "eicu": ["dataset=eicu"],
        "parent": ["dataset=eicu"],
    }
    found = {}
    for name, given in words.items():
        os.environ[folders.RUN_ID_VARIABLE] = name
        found[name] = folders.named_run(load([f"paths.runs={tmp_path / 'runs'}", *given]))
        folders.forget_run()
        (found[name] / folders.PUBLIC).touch()
    (found["parent"] / folders.CHILDREN).touch()
    return found


def chosen(place: Path, *words: str, parents: bool = False) -> str:
    return run_of(load([f"paths.runs={place / 'runs'}", *words]), folders.PUBLIC, parents=parents).name


def test_it_is_the_newest_of_all_experiments(made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen(tmp_path) == "eicu"
    assert str(made["eicu"]) in capsys.readouterr().out
    (made["eicu"] / folders.PUBLIC).unlink()
    assert chosen(tmp_path) == "mine"


def test_it_is_of_the_experiment_or_dataset_that_the_command_names(made, tmp_path: Path) -> None:
    assert chosen(tmp_path, f"experiment={tmp_path / 'mine.yaml'}") == "mine"
    assert chosen(tmp_path, "dataset=custom") == "mine"
    assert chosen(tmp_path, "dataset=mimic") == "old"


def test_a_parent_is_taken_by_commands_that_read_one(made, tmp_path: Path) -> None:
    assert chosen(tmp_path, parents=True) == "parent"


def test_a_run_that_another_process_trains_is_left_out(made, tmp_path: Path, capsys) -> None:
    with locks.locked(made["eicu"] / folders.LOCK):
        assert chosen(tmp_path) == "mine"
        assert "is being trained by another process" in capsys.readouterr().out
        (made["eicu"] / folders.DONE).touch()
        assert chosen(tmp_path) == "eicu"
    (made["eicu"] / folders.DONE).unlink()
    assert chosen(tmp_path) == "eicu"


def test_a_parent_one_of_whose_runs_is_trained_is_left_out(made, tmp_path: Path) -> None:
    child = made["parent"] / "seed0-fold1"
    child.mkdir()
    with locks.locked(child / folders.LOCK):
        assert chosen(tmp_path, parents=True) == "eicu"
    assert chosen(tmp_path, parents=True) == "parent"


def test_without_one_a_line_says_where_none_is(made, tmp_path: Path) -> None:
    (made["mine"] / folders.PUBLIC).unlink()
    with pytest.raises(ConfigError, match=r"runs has no run of dataset=custom with results\.public\.json.*by run="):
        chosen(tmp_path, "dataset=custom")


def test_a_run_that_is_named_is_taken_as_it_is(tmp_path: Path) -> None:
    assert chosen(tmp_path, f"run={tmp_path / 'nowhere'}") == "nowhere"
