"""The runs of a protocol are one group of W&B, with a run that gathers them."""

import os
from pathlib import Path

import pytest

from benchmarks.wandb_logs import OfflineRun
from mmnar_lightning.runs import folders, protocols
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import compose


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("protocol")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_SWEEP_ID", "MIMIC_ROOT"):
            patch.delenv(name, raising=False)
        patch.chdir(place)
        words = ["trainer.max_epochs=1", "evaluation.num_seeds=2", "wandb.enabled=true", "rectifier.fit=none"]
        folder = protocols.train(compose(write_custom_cohort(place / "given"), *words, "wandb.init={notes: two}"))
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
    return place / folder


def test_the_runs_and_the_one_that_gathers_them_are_a_group(parent: Path) -> None:
    whole = OfflineRun(parent / "wandb")
    runs = [OfflineRun(path.parent) for path in sorted(parent.glob("*/wandb"))]
    assert len(runs) == 2
    group = f"custom/{parent.name}"
    assert {own.run.run_group for own in (whole, *runs)} == {group}
    assert [own.run.job_type for own in (whole, *runs)] == ["protocol", "run", "run"]
    assert [own.run.notes for own in (whole, *runs)] == ["two", "two", "two"], "wandb.init reaches W&B"


def test_the_one_that_gathers_them_has_their_scores_and_no_curve(parent: Path) -> None:
    whole = OfflineRun(parent / "wandb")
    assert {row[1] for row in whole.table("test/scores")["data"]} >= {"all"}
    assert "results.public.json" in whole.artifacts["results"]
    assert not whole.logged("val/auroc")
