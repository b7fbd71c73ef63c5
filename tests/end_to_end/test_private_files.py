"""What a command writes is readable by its owner alone, or by the group as well, whatever the umask is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmnar_lightning.cli import main
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import SMALL

FEW = (
    "trainer.max_epochs=1",
    "evaluation.inner_folds=2",
    "cohort.split.train=0.4",
    "cohort.split.calibration=0.3",
    "cohort.split.test=0.2",
    "model.fusion.conditioned=false",
    "objective.reconstruction=0",
    "objective.assignment=0",
    "rectifier.fit=none",
    "diagnostics.parts=true",
)


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    import wandb

    wandb.teardown()  # its service, which an earlier test may have started, writes with the umask of that time
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(place: Path, *, of_files: int, of_folders: int) -> dict[str, str]:
    """Every folder and file with other rights; empty lock files hold nothing."""
    found = {}
    for path in sorted(place.rglob("*")):
        expected = of_folders if path.is_dir() else of_files
        mode = path.stat().st_mode & 0o777
        if mode != expected and not (path.name.endswith(".lock") and path.stat().st_size == 0):
            found[str(path.relative_to(place))] = oct(mode)
    return found


def test_a_cohort_a_run_and_predictions_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, other, made = tmp_path / "given", tmp_path / "other", tmp_path / "made"
    write_custom_cohort(given)
    write_custom_cohort(other, num_subjects=40, seed=3)
    made.mkdir()
    monkeypatch.chdir(made)
    words = ("dataset=custom", *SMALL)
    assert main(["train", *words, f"paths.cohort={given}", *FEW, "wandb.enabled=true"]) == 0
    (run,) = (made / "runs/custom").iterdir()
    elsewhere = ("evaluation.elsewhere=carried", f"run={run}", f"paths.cohort={other}")
    assert main(["evaluate", *words, *elsewhere]) == 0
    assert main(["predict", *words, f"run={run}", f"paths.cohort={other}", "out=here"]) == 0
    for written in (
        "predictions.parquet", "results.json", "checkpoints/last.ckpt", "parts/contrast/predictions.parquet",
        "parts/predictions.parquet", "elsewhere/*/predictions.parquet", "figures/*.png", "wandb/*/run-*.wandb",
    ):  # fmt: skip
        assert list(run.glob(written)), written
    assert list(made.glob("data/cohorts/*/cohort.parquet"))
    assert list(made.glob("here/predictions.parquet"))
    assert open_to_others(made, of_files=0o600, of_folders=0o700) == {}


def test_a_group_reads_them_where_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_custom_cohort(tmp_path / "given", num_subjects=40)
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.chdir(made)
    words = ("cohort", "dataset=custom", f"paths.cohort={tmp_path / 'given'}")
    assert main([*words, "privacy.shared_group=true"]) == 0
    assert len(list(made.rglob("*.npy"))) > 1
    assert open_to_others(made, of_files=0o640, of_folders=0o750) == {}


def test_the_umask_is_as_before(tmp_path: Path) -> None:
    os.umask(0o013)
    assert main(["doctor", f"paths.mimic_root={tmp_path}"]) == 1
    assert os.umask(0) == 0o013
