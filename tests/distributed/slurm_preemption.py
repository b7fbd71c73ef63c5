"""A real SLURM job of two tasks: preempted, then out of time, it ends as an undisturbed one (`make test-slurm`)."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import write_custom_cohort
from tests.helpers.paths import ROOT
from tests.helpers.slurm_cluster import Cluster, missing, wait_for

EPOCHS = 100
SCRIPT = ROOT / "experiments/slurm/train.sbatch"
SETTINGS = [
    "dataset=custom",
    f"trainer.max_epochs={EPOCHS}",
    f"trainer.patience={EPOCHS}",
    "trainer.accelerator=cpu",
    "trainer.devices=2",
    "trainer.progress_bar=false",
    "wandb.enabled=false",
    "loader.batch_size=16",
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "evaluation.num_replicates=100",
]
TWO_TASKS = ("--ntasks-per-node=2", "--cpus-per-task=1", "--time=30", "--signal=USR1@50")

# Marks, and no skip of the module: pytest takes that for a run without tests, which fails.
pytestmark = pytest.mark.skipif(bool(missing()), reason=f"SLURM is not installed ({', '.join(missing())} missing)")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_custom_cohort(folder / "given")
    (folder / "setup.sh").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    return folder


def submit(cluster: Cluster, place: Path, *words: str) -> str:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    site = {"SBATCH_PARTITION": "low", "MMNAR_SETUP": str(place / "setup.sh"), "COHORT": str(place / "given")}
    return cluster.run("sbatch", "--parsable", *words, check=True, cwd=place, PYTHONPATH=path, **site).strip()


def output(place: Path, job: str) -> str:
    return "\n".join(path.read_text() for path in place.glob(f"slurm-*-{job}*.out"))


def epochs(folder: Path) -> int:
    """How many epochs all starts of a run have saved."""
    path = folder / "checkpoints/last.ckpt"
    return torch.load(path, weights_only=True)["epoch"] + 1 if path.is_file() else 0


def run_out_of_time(cluster: Cluster, job: str) -> None:
    """Lower the time limit to a minute, and let its signal, sent within 40 s, find the job still training."""
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    cluster.run("scancel", "--signal=STOP", job)  # its tasks wait, however fast they are

    def is_over() -> bool:
        reported = cluster.job(job)
        return reported["Restarts"] != "1" or int(reported["RunTime"][-2:]) >= 44

    wait_for(is_over, 90, cluster.logs)
    cluster.run("scancel", "--signal=CONT", job, check=False)


def train_to_the_end(cluster: Cluster, place: Path, job: str) -> Path:
    wait_for(lambda: cluster.job(job)["JobState"] in {"COMPLETED", "FAILED"}, 300, lambda: output(place, job))
    assert cluster.job(job)["JobState"] == "COMPLETED", output(place, job)
    return place / "runs/custom" / f"slurm-{job}"


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, place: Path) -> Path:
    return train_to_the_end(cluster, place, submit(cluster, place, *TWO_TASKS, str(SCRIPT), *SETTINGS))


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, place: Path) -> tuple[str, Path]:
    """The number and the run of a job that was preempted once and then ran out of time once."""
    job = submit(cluster, place, *TWO_TASKS, str(SCRIPT), *SETTINGS)
    folder = place / "runs/custom" / f"slurm-{job}"
    wait_for(lambda: epochs(folder) >= 3, 120, lambda: output(place, job))
    cluster.run("sbatch", "--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1", cwd=place)
    wait_for(lambda: cluster.job(job)["Restarts"] == "1", 120, lambda: output(place, job) + cluster.logs())
    assert epochs(folder) < EPOCHS, "the run was over before it could be preempted"
    reached = epochs(folder)
    wait_for(lambda: epochs(folder) >= reached + 3, 120, lambda: output(place, job))
    run_out_of_time(cluster, job)
    wait_for(lambda: int(cluster.job(job)["Restarts"]) >= 2, 180, lambda: output(place, job) + cluster.logs())
    assert epochs(folder) < EPOCHS, "the run was over before its time was"
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    return job, train_to_the_end(cluster, place, job)


def test_the_job_was_stopped_by_both_signals_and_went_on_each_time(disturbed, place: Path) -> None:
    job, folder = disturbed
    reported = output(place, job)
    assert "SIGTERM" in reported, reported
    assert "SIGUSR1" in reported, reported
    assert len(list(folder.glob("logs/*/metrics.csv"))) >= 3, "one start, and one for each interruption"
    assert (folder / "DONE").is_file()


def test_it_ends_with_the_weights_of_the_undisturbed_job(disturbed, undisturbed: Path) -> None:
    for name in ("last", "best"):
        one, other = (
            torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True) for folder in (undisturbed, disturbed[1])
        )
        assert one["global_step"] == other["global_step"]
        for key, value in one["state_dict"].items():
            torch.testing.assert_close(
                other["state_dict"][key], value, rtol=0, atol=0, equal_nan=True, msg=f"{name} {key}"
            )


def test_it_ends_with_the_results_of_the_undisturbed_job(disturbed, undisturbed: Path) -> None:
    one, other = (json.loads((folder / "results.json").read_text()) for folder in (undisturbed, disturbed[1]))
    own = {"run_id", "environment"}  # a checkout may move on between two jobs
    assert {key: value for key, value in one.items() if key not in own} == {
        key: value for key, value in other.items() if key not in own
    }


def test_an_array_shares_the_runs_of_a_protocol_and_the_last_one_gathers(cluster: Cluster, place: Path) -> None:
    words = [word for word in SETTINGS if not word.startswith(("trainer.max_epochs", "trainer.devices"))]
    protocol = ["trainer.max_epochs=1", "rectifier.fit=crossfit", "cohort.split.num_folds=3"]
    job = submit(cluster, place, "--cpus-per-task=1", "--array=0-2", "--time=30", str(SCRIPT), *words, *protocol)
    parent = place / "runs/custom" / f"slurm-{job}"
    wait_for(
        lambda: not cluster.run("squeue", "--noheader", "--jobs", job, check=False).strip(),
        300,
        lambda: output(place, job),
    )
    assert (parent / "DONE").is_file(), output(place, job)
    assert {path.parent.name for path in parent.glob("*/results.json")} == {f"seed0-fold{fold}" for fold in range(3)}
    assert json.loads((parent / "results.json").read_text())["protocol"] == "crossfit"
