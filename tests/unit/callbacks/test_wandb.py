"""One offline run of the whole program, read back from the file that W&B would upload."""

import math
import os
from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders, single
from tests.conftest import write_custom_cohort
from tests.helpers.wandb_logs import OfflineRun

EPOCHS, MIN_COUNT = 2, 3
TASKS, PATTERNS = ("first", "second"), ("11", "10")
HEADER = ["task", "pattern", "count", "positives", "auroc", "average_precision", "brier"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("a_path_of_this_machine")


@pytest.fixture(scope="module")
def run(place: Path):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", folders.RUN_ID_VARIABLE, "MIMIC_ROOT", "COHORT", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_ENTITY", "a-team")
        patch.setenv("WANDB_TAGS", "pilot,second try")
        patch.chdir(place)
        given = write_custom_cohort(place / "given", num_subjects=100)
        words = [
            "dataset=custom",
            f"paths.cohort={given}",
            f"trainer.max_epochs={EPOCHS}",
            "trainer.progress_bar=false",
            "trainer.accelerator=cpu",
            "model.fusion.dim=16",
            "model.fusion.num_heads=2",
            "evaluation.num_replicates=100",
            f"privacy.min_count={MIN_COUNT}",
        ]
        import wandb

        wandb.teardown()  # the client reads the environment once per process, and an earlier test may have started it
        wandb.setup()  # as a notebook may have done: the run is offline nevertheless
        folder = single.train(load(words))
        wandb.finish()
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
    return OfflineRun(place / folder)


def test_every_task_and_pattern_is_a_scalar_of_every_epoch(run):
    for task in TASKS:
        for pattern in PATTERNS:
            for metric in ("auroc", "average_precision", "brier", "count"):
                values = run.logged(f"val/{metric}/{task}/{pattern}")
                assert len(values) == EPOCHS, (metric, task, pattern)
                assert all(isinstance(value, float | int | str) for value in values)


def test_the_monitored_metric_and_the_loss_are_scalars(run):
    assert all(0 <= value <= 1 for value in run.logged("val/auroc"))
    assert len(run.logged("val/auroc")) == EPOCHS
    assert run.logged("train/loss")


@pytest.mark.parametrize("split", ["val", "test"])
def test_there_is_one_table_with_a_row_a_task_and_pattern(run, split):
    assert run.logged(f"{split}/patterns/_type") == ["table-file"]
    table = run.table(f"{split}/patterns")
    assert table["columns"] == HEADER
    assert sorted(row[:2] for row in table["data"]) == sorted([task, label] for task in TASKS for label in PATTERNS)


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_table_says_what_the_scalars_say_and_small_cells_are_masked(run, split):
    shown = 0
    for row in run.table(f"{split}/patterns")["data"]:
        cell = f"{row[0]}/{row[1]}"
        for name, value in zip(HEADER[2:], row[2:], strict=True):
            scalar = float(run.logged(f"{split}/{name}/{cell}")[-1])
            given = math.nan if value is None else float(value)
            assert given == pytest.approx(scalar, nan_ok=True, abs=1e-6), (name, cell)
        count, positives = (float(run.logged(f"{split}/{name}/{cell}")[-1]) for name in ("count", "positives"))
        assert math.isnan(count) or min(count, positives, count - positives) >= MIN_COUNT
        shown += not math.isnan(count)
    assert shown


@pytest.mark.parametrize("split", ["val", "test"])
def test_there_is_a_heat_map_image(run, split):
    assert run.logged(f"{split}/patterns_heat_map/_type") == ["image-file"]
    assert run.image(f"{split}/patterns_heat_map").startswith(b"\x89PNG")


def test_the_configuration_has_the_settings_and_no_path_of_this_machine(run, place):
    assert run.config["trainer"]["max_epochs"] == EPOCHS
    assert run.config["model"]["fusion"]["dim"] == 16
    assert run.config["cohort_fingerprint"]
    assert not {"paths", "run", "resume"} & set(run.config)
    assert place.name not in str(run.config)


def test_no_record_of_the_file_names_a_path_of_this_machine(run, place):
    assert run.texts
    assert not [text[:300] for text in run.texts if place.name in text]


def test_the_run_is_offline_and_grouped_by_its_experiment(run):
    assert "offline-run" in run.folder.name
    assert run.run.run_group == "custom"
    assert sorted(run.run.tags) == ["custom", "pilot", "second try"], "those of WANDB_TAGS among them"
    assert run.run.entity == "a-team", "W&B reads WANDB_ENTITY"
