"""One offline run of the whole program, read back from the file that W&B would upload."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.wandb_layout import layout
from benchmarks.wandb_logs import OfflineRun
from mmnar_lightning.config.compose import load
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.runs import folders, single
from tests.conftest import write_custom_cohort

EPOCHS, MIN_COUNT = 2, 3
TASKS, PATTERNS = ("first", "second"), ("11", "10")
TIMES = ["before", "before low", "before high", "after", "after low", "after high"]


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
            "wandb.model=true",
        ]
        import wandb

        wandb.teardown()  # the client reads the environment once per process, and an earlier test may have started it
        wandb.setup()  # as a notebook may have done: the run is offline nevertheless
        folder = single.train(load(words))
        wandb.finish()
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
    found = OfflineRun(place / folder)
    found.public = json.loads((place / folder / folders.PUBLIC).read_text())
    found.final = found.public.get("rectified")
    return found


def test_the_auroc_of_every_task_and_pattern_is_a_chart_and_the_others_are_in_a_table(run):
    keys = {key for step in run.history for key in step}
    for task in TASKS:
        assert len(run.logged(f"val/auroc/{task}")) == EPOCHS
        for pattern in PATTERNS:
            values = run.logged(f"val/auroc/{task}/{pattern}")
            assert len(values) == EPOCHS
            assert all(isinstance(value, float | int | str) for value in values)
    charts = {key for key in keys if key.count("/") > 1 and key.startswith(("val/", "test/"))}
    assert {key.split("/")[1] for key in charts} == {"auroc", "scores", "overview"}


def test_the_summary_has_best_values_and_the_final_scores(run):
    assert run.best == {"val/auroc": "max", "val/log_loss": "min", "val/loss": "min", "val/r2": "max", "val/mse": "min"}
    for task in TASKS:
        cell = run.public["tasks"][task]["all"]
        assert run.summary[f"final/brier/{task}"] == pytest.approx(
            (run.final or run.public["tasks"])[task]["all"]["brier"]["value"]
        )
        assert run.summary[f"final/auroc/{task}"] == pytest.approx(cell["auroc"]["value"])


def test_one_table_and_one_figure_have_every_metric_before_and_after_the_rectifier(run):
    kinds = [value for step in run.history for key, value in step.items() if key.endswith("/_type")]
    assert sorted(kinds) == ["image-file", "table-file"]
    table = run.table("test/scores")
    assert table["columns"] == ["task", "pattern", "metric", *TIMES]
    found = {tuple(row[:3]): row[3:] for row in table["data"]}
    assert len(found) == len(table["data"]), "a metric of a cell is one row"
    for field, place in (("tasks", 0), ("rectified", 3)):
        for task in TASKS:
            for metric in METRICS:
                score = run.public[field][task]["all"][metric]
                assert found[task, "all", metric][place : place + 3] == [
                    None if score[end] is None else pytest.approx(score[end]) for end in ("value", "low", "high")
                ]
    assert run.image("test/overview").startswith(b"\x89PNG")


def test_a_count_of_a_shown_cell_is_sent_once_and_that_of_a_small_one_never(run):
    rows = [row for row in run.table("test/scores")["data"] if row[2] in {"rows", "positives"}]
    shown = {
        (task, name): {"rows": cell["count"], "positives": cell["positives"]}
        for task, found in run.public["tasks"].items()
        for name, cell in {"all": found["all"], **found["patterns"]}.items()
        if cell["count"] is not None
    }
    expected = sorted([*key, name, count] for key, counts in shown.items() for name, count in counts.items())
    assert sorted(row[:4] for row in rows) == expected
    assert not [row for row in rows if any(row[4:])]
    keys = {key for step in run.history for key in step}
    assert not [key for key in keys if "count" in key or "positives" in key]


def test_the_layout_of_a_run_is_counted(run):
    found = layout(run)
    cells = 2 * (len(TASKS) * (1 + len(PATTERNS)))
    assert found["charts of a task or pattern"] == f"{cells} ({cells} of auroc)"
    assert (found["tables"], found["figures"]) == ("1 (test/scores)", "1 (test/overview)")
    assert found["metrics with an interval"] == str(len(METRICS))
    charts = {
        key for step in run.history for key in step if not key.startswith(("_", "test/scores/", "test/overview/"))
    }
    assert found["keys of the history"] == str(len(charts) + 2)


def test_results_and_model_are_artifacts(run):
    assert set(run.artifacts["results"]) >= {"results.public.json", "auroc.png"}
    model = {"README.md", "manifest.json", "model.json", "results.public.json", "weights.safetensors"}
    assert set(run.artifacts["model"]) == model
    assert "results.json" not in {name for names in run.artifacts.values() for name in names}


def test_program_and_hardware_are_in_the_configuration_and_in_the_results(run):
    assert run.config["environment"] == run.public["environment"]
    assert run.public["environment"]["packages"]["torch"]


def test_the_monitored_metric_and_the_loss_are_scalars(run):
    assert all(0 <= value <= 1 for value in run.logged("val/auroc"))
    assert len(run.logged("val/auroc")) == EPOCHS
    assert run.logged("train/loss")


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
    assert (run.run.run_group, run.run.job_type) == ("custom", "train")
    assert sorted(run.run.tags) == ["custom", "pilot", "second try"], "those of WANDB_TAGS among them"
    assert run.run.entity == "a-team", "W&B reads WANDB_ENTITY"
