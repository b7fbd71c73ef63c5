"""A resumed run is one run of W&B, over the steps of the optimiser."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.wandb_logs import OfflineRun
from mmnar_lightning.config.compose import load
from mmnar_lightning.distributed.signals import PreemptedError
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import folders, single
from tests.distributed.test_resume import BATCHES, at
from tests.helpers.processes import TRAIN, write_cohort


def test_both_starts_of_a_run_log_into_one_and_its_id_is_that_of_the_checkpoint(tmp_path: Path, monkeypatch) -> None:
    import signal

    import wandb

    for name in ("WANDB_API_KEY", folders.RUN_ID_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write_cohort(tmp_path / "given")
    words = [*TRAIN, "paths.cohort=given", "trainer.max_epochs=2", "wandb.enabled=true", "rectifier.fit=none"]
    usual = MMNARModule.training_step
    stop = at(BATCHES + 3, lambda: os.kill(os.getpid(), signal.SIGTERM), usual)
    monkeypatch.setattr(MMNARModule, "training_step", stop)
    with pytest.raises(PreemptedError):
        single.train(load(words))
    wandb.finish()
    monkeypatch.setattr(MMNARModule, "training_step", usual)
    (first,) = Path("runs/custom").iterdir()
    began = first.name
    first.rename(first.with_name("moved"))
    single.train(load([*words, "resume=runs/custom/moved"]))
    wandb.finish()
    parts = sorted(Path("runs/custom/moved/wandb").glob("offline-run-*"))
    assert len(parts) == 2
    segments = []
    for number, part in enumerate(parts):
        shutil.move(part, tmp_path / f"part{number}" / part.name)
        segments.append(OfflineRun(tmp_path / f"part{number}"))
    assert {segment.run.run_id for segment in segments} == {began}
    steps = [step for segment in segments for step in segment.logged("trainer/global_step")]
    # The loss of an evaluation is logged by Lightning, which numbers the step before it.
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(steps))
    assert max(steps) == 2 * BATCHES
    assert sum(len(segment.logged("val/auroc")) for segment in segments) == 2
