"""A process that is really killed, and what it leaves half written."""

import signal
from pathlib import Path

import polars as pl
import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders, single
from tests.distributed.test_resume import BATCHES, WORDS, assert_same, logged
from tests.helpers.processes import ROOT, TRAIN, Started, write_cohort

SETTINGS = [*TRAIN, *WORDS, "objective.pretrain_epochs=1", "paths.cohort=given"]
"""In the first epoch no checkpoint is the best one, which is when the metrics used to reach the disk."""


def test_a_run_killed_after_an_epoch_has_its_metrics_and_ends_as_the_run_that_was_never_stopped(workplace) -> None:
    write_cohort(workplace / "given")
    reported = ["training_step", str(BATCHES + 2), "0", "SIGKILL"]
    killed = Started([str(ROOT / "tests/helpers/stopped_at.py"), *reported, *SETTINGS, "paths.runs=killed"], workplace)
    assert killed.wait() == -signal.SIGKILL, killed.output
    (folder,) = Path("killed").glob("*/*")
    whole = single.train(load([*SETTINGS, "paths.runs=whole"]))
    assert single.train(load([*SETTINGS, "paths.runs=killed"])).resolve() == folder.resolve()
    assert_same(folder, whole)
    assert logged(folder).height == 3, "no epoch was replayed, so each is there once"


@pytest.mark.parametrize("left", ["", "epoch,step", "epoch,step,a\n0,1,0.5\n1,2,0."])
def test_a_log_that_was_cut_off_keeps_its_whole_lines_and_the_run_is_finished(workplace, left) -> None:
    for number, text in enumerate((left, "epoch,step,a\n2,3,0.7\n")):
        (workplace / f"logs/{number}").mkdir(parents=True)
        (workplace / f"logs/{number}/metrics.csv").write_text(text)
    single.finish(workplace)
    assert (workplace / folders.DONE).is_file()
    assert pl.read_csv(workplace / "metrics.csv")["a"].to_list() == ([0.5, 0.7] if "0.5" in left else [0.7])
