"""The search without W&B: trials in parallel, interrupted, stopped early, failing; their table and plots."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from mmnar_lightning import cli
from mmnar_lightning.commands import best, sweep
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import single
from mmnar_lightning.sweeps import workers
from mmnar_lightning.sweeps.space import SweepError
from tests.helpers.forked import PATIENCE
from tests.helpers.paths import ROOT
from tests.helpers.slurm_cluster import wait_for

SHORT = ["${interpreter}", str(ROOT / "tests/helpers/short_trial.py"), "evaluate=false", "${args_no_hyphens}"]
LR = {"optim.lr": {"min": 0.1, "max": 0.9}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "POLL", 0.02)


def write(place: Path, **changed: object) -> str:
    plain = {
        "method": "random",
        "metric": {"name": "val/auroc_best", "goal": "maximize"},
        "run_cap": 5,
        "command": SHORT,
        "parameters": LR,
        **changed,
    }
    (place / "sweep.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    return "sweep.file=sweep.yaml"


def search(*words: str) -> Path:
    words = ("sweep.offline=true", "trainer.max_epochs=3", *words)
    return sweep.sweep(load(words), words)


def table_of(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "trials.csv")


def test_every_point_of_a_grid_is_one_trial_and_the_best_is_marked(workplace: Path) -> None:
    folder = search(write(workplace, method="grid", run_cap=None, parameters={"optim.lr": {"values": [0.3, 0.9, 0.5]}}))
    table = table_of(folder)
    assert table["parameter/optim.lr"].to_list() == [0.3, 0.9, 0.5]
    assert table["val/auroc_best"].to_list() == [0.3, 0.9, 0.5]
    assert table["best"].to_list() == [False, True, False]
    assert table["epochs"].to_list() == [3, 3, 3]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_draws_within_its_range_and_leaves_plots(workplace: Path, method: str) -> None:
    both = LR | {"optim.weight_decay": {"min": 1.0e-6, "max": 1.0e-2, "distribution": "log_uniform_values"}}
    folder = search(write(workplace, method=method, parameters=both), "sweep.processes=2")
    drawn = table_of(folder)["parameter/optim.lr"]
    assert drawn.n_unique() == 5
    assert drawn.is_between(0.1, 0.9).all()
    for name in ("trials.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_a_search_for_the_smallest_finds_the_smallest(workplace: Path) -> None:
    folder = search(write(workplace, metric={"name": "val/auroc_best", "goal": "minimize"}))
    table = table_of(folder)
    assert table.filter("best")["val/auroc_best"].to_list() == [table["val/auroc_best"].min()]


def test_trials_run_at_the_same_time(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    look = workers.WorkerPool._check

    def looked_at(pool: workers.WorkerPool, worker: workers.Worker) -> None:
        seen.append(len(pool.workers))
        look(pool, worker)

    monkeypatch.setattr(workers.WorkerPool, "_check", looked_at)
    search(write(workplace), "sweep.processes=3")
    assert max(seen) == 3


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_bad_trials_are_stopped_early(workplace: Path, monkeypatch: pytest.MonkeyPatch, goal: str) -> None:
    monkeypatch.setenv("REST", "0.06")
    hyperband = {"type": "hyperband", "min_iter": 1, "max_iter": 9, "eta": 3}
    values = sorted([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], reverse=goal == "maximize")  # the best comes first
    metric = {"name": "val/auroc_best", "goal": goal}
    grid = {"optim.lr": {"values": values}}
    file = write(workplace, method="grid", metric=metric, run_cap=None, parameters=grid, early_terminate=hyperband)
    table = table_of(search(file, "trainer.max_epochs=9"))
    assert table["state"][0] == "finished"
    stopped = table.filter(pl.col("state") == "pruned")
    assert stopped.height >= 2
    assert (stopped["epochs"] < 9).all()
    assert not stopped["best"].any()


def test_a_trial_that_saved_itself_and_stopped_is_taken_up_where_it_was(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT_TRIAL", "preempted")
    folder = search(write(workplace, run_cap=1))
    table = table_of(folder)
    assert table["state"].to_list() == ["finished"]
    assert table["epochs"].to_list() == [3]
    logs = [pl.read_csv(path)["epoch"].to_list() for path in sorted(folder.glob("*/logs/*/metrics.csv"))]
    assert logs == [[0], [1, 2]]


def test_three_failures_in_a_row_end_the_search_and_name_the_log(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT_TRIAL", "fails")
    with pytest.raises(SweepError, match=r"3 trials failed .* status 1, see .*output.log"):
        search(write(workplace))
    (folder,) = workplace.glob("runs/sweeps/*/")
    assert table_of(folder)["state"].to_list() == ["failed"] * 3


def test_a_killed_search_goes_on_with_its_trials_and_repeats_none(workplace: Path) -> None:
    words = ["sweep.offline=true", "trainer.max_epochs=4", write(workplace, run_cap=3)]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    first = subprocess.Popen(
        [sys.executable, "-m", "mmnar_lightning", "sweep", *words],
        env=os.environ | paths | {"REST": "0.3"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    base = workplace / "runs/sweeps"
    wait_for(lambda: list(base.glob("*/*-0001/last")), PATIENCE, "the second trial never began")
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(1.5)  # the orphan ends by itself
    (before,) = base.glob("*/")
    (before / f"{before.name}-0001" / "DONE").unlink(missing_ok=True)
    drawn = {path.parent.name: path.read_text() for path in before.glob("*/config.yaml")}
    folder = sweep.sweep(load(words), words)
    assert folder == before.absolute()
    assert {path.parent.name: path.read_text() for path in folder.glob("*/config.yaml")}.items() >= drawn.items()
    table = table_of(folder)
    assert table["state"].to_list() == ["finished"] * 3
    assert table["parameter/optim.lr"].n_unique() == 3
    assert len(list((folder / f"{folder.name}-0000").glob("logs/*"))) == 1, "a finished trial was trained again"


def test_a_signal_while_a_trial_starts_stops_the_trials_and_is_resumable(workplace: Path, monkeypatch, capsys) -> None:
    usual, started = subprocess.Popen, []

    def popen(*given: Any, **settings: Any) -> subprocess.Popen[bytes]:
        started.append(usual(*given, **settings))
        os.kill(os.getpid(), signal.SIGTERM)
        return started[-1]

    words = (write(workplace), "sweep.offline=true", "trainer.max_epochs=3")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", popen)
        assert cli.main(["sweep", *words]) == cli.PREEMPTED
    assert [process.poll() is None for process in started] == [False]
    assert "stopped by SIGTERM" in capsys.readouterr().out
    assert cli.main(["sweep", *words]) == 0
    (table,) = workplace.glob("runs/sweeps/*/trials.csv")
    assert pl.read_csv(table)["state"].to_list() == ["finished"] * 5


def test_a_sweep_that_would_never_end_or_read_test_or_knows_no_such_setting_is_refused(workplace: Path) -> None:
    with pytest.raises(SweepError, match="run_cap"):
        search(write(workplace, run_cap=None))
    with pytest.raises(ConfigError, match="evaluate=false"):
        search(write(workplace, command=[word for word in SHORT if word != "evaluate=false"]))
    with pytest.raises(ConfigError, match="evaluate=true"):
        search(write(workplace), "evaluate=true")
    with pytest.raises(ConfigError, match=r"optim.lrr.*did you mean optim.lr"):
        search(write(workplace, parameters={"optim.lrr": {"value": 1.0}}))
    with pytest.raises(ConfigError, match=r"model\.fusion\.dropout=1\.5"):
        search(write(workplace, parameters={"model.fusion.dropout": {"min": 0.0, "max": 1.5}}))
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        search(write(workplace), "sweep.offline=false")
    assert not (workplace / "runs").exists()


def test_test_rows_are_read_with_the_best_trial_and_with_no_other(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[str] = []
    monkeypatch.setattr(single, "evaluate", lambda config: tested.append(config.run))
    search(write(workplace, run_cap=2))
    folder = search(write(workplace, run_cap=3))
    for _ in range(2):
        best.best(load([]))
    (chosen,) = table_of(folder).filter("best")["trial"]
    assert tested == [str(Path("runs/sweeps") / folder.name / chosen)] * 2
    (folder / chosen / "DONE").unlink()
    with pytest.raises(ConfigError, match=f"evaluated with {chosen}"):
        best.best(load([]))


def test_the_exit_status_of_a_preempted_run_is_the_one_that_is_taken_up() -> None:
    assert workers.PREEMPTED == cli.PREEMPTED
