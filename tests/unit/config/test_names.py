"""Every name that becomes a folder or file stays within the folder that it is meant for."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import yaml

from data_modules.cohorts.columns import validate
from data_modules.cohorts.config import CohortConfig
from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.commands import sweep as sweeps
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders
from mmnar_lightning.runs.plan import Child
from mmnar_lightning.sweeps import online
from mmnar_lightning.sweeps.trial import folder_of
from tests.unit.config.test_yaml_files import SWEEP

OUTSIDE = ["../../other", "..", "a/b", "/tmp/other", "a\nb", ".hidden", ""]


def experiment(name: str, place: Path) -> None:
    (place / "mine.yaml").write_text(yaml.safe_dump({"experiment": name}))
    load([f"experiment={place / 'mine.yaml'}"])


def experiment_of_a_second_layer(name: str, place: Path) -> None:
    (place / "mine.yaml").write_text(yaml.safe_dump({"experiment": name}))
    load([f"experiment=mimic,{place / 'mine.yaml'}", "seed=1"])


def replaced_experiment(name: str, place: Path) -> None:
    replace(load([]), experiment=name)


def cohort(name: str, place: Path) -> None:
    CohortConfig(name=name)


def modality(name: str, place: Path) -> None:
    Modality(name=name, kind="table")


def column(prefix: str) -> Callable[[str, Path], None]:
    def door(name: str, place: Path) -> None:
        rows: dict[str, list[Any]] = {"row_id": [0], "subject_id": ["a"], "label/death": [True], "present/labs": [True]}
        validate(pl.DataFrame(rows | {f"{prefix}/{name}": [True]}), "mine")

    return door


def run_id(name: str, place: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv(folders.RUN_ID_VARIABLE, name)
        folders.named_run(load([f"paths.runs={place / 'runs'}"]))


def child(name: str, place: Path) -> None:
    Child(name=name, seed=0, fold=None)


def trial_of_wandb(name: str, place: Path) -> None:
    folder_of(str(place), {"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": name})


def sweep_of_wandb(name: str, place: Path) -> None:
    folder_of(str(place), {"WANDB_SWEEP_ID": name, "WANDB_RUN_ID": "r"})


DOORS = {
    "experiment": experiment,
    "experiment of a layer": experiment_of_a_second_layer,
    "replaced experiment": replaced_experiment,
    "cohort.name": cohort,
    "modality": modality,
    "label column": column("label"),
    "presence column": column("present"),
    "child": child,
    "trial": trial_of_wandb,
    "sweep": sweep_of_wandb,
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_would_leave_its_folder_is_refused(door: Callable[[str, Path], None], name: str, tmp_path: Path):
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(UserError):
        door(name, tmp_path)
    assert [path.name for path in sorted(tmp_path.rglob("*")) if path not in before] in ([], ["mine.yaml"])


@pytest.mark.parametrize("name", ["..", ".hidden", "a\nb"])
def test_a_run_that_the_environment_names_lies_in_the_folder_of_its_experiment(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MMNAR_RUN_ID="):
        run_id(name, tmp_path)
    assert not list(tmp_path.iterdir())
    run_id("12345_0", tmp_path)
    assert [path.name for path in (tmp_path / "runs/mimic").iterdir() if path.is_dir()] == ["12345_0"]
    os.environ.pop(folders.RUN_ID_VARIABLE, None)


def test_a_sweep_is_named_by_a_file_whose_name_is_a_folder(tmp_path: Path) -> None:
    file = tmp_path / ".my sweep.yaml"
    file.write_text(yaml.safe_dump(SWEEP))
    with pytest.raises(UserError, match=r"sweep\.file='\.my sweep'"):
        sweeps.sweep(load([f"sweep.file={file}", "sweep.offline=true", f"paths.runs={tmp_path / 'runs'}"]), [])
    assert not (tmp_path / "runs").exists()


def test_a_sweep_of_wandb_is_named_by_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "create", lambda *_: "entity/project/..")
    found = SimpleNamespace(plain=SWEEP, command=SWEEP["command"])
    with pytest.raises(UserError, match=r"the sweep of W&B='\.\.'"):
        sweeps._online(load([f"paths.runs={tmp_path / 'runs'}"]), found, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["24h", "my_runs-2", "größe"])
def test_a_plain_name_is_accepted(name: str, tmp_path: Path) -> None:
    experiment(name, tmp_path)
    child(name, tmp_path)
