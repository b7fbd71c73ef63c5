"""Train every method on every release, in two processes, and leave one folder a run."""

import argparse
import itertools
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.results import plan
from mmnar_lightning.runs.protocols import train

CHOSEN = "chosen.json"
Job = tuple[str, str, int, tuple[str, ...], Path, bool]
"""Method, setting, seed of the release, settings, folder, whether to read test."""


def tuning_jobs(out: Path) -> list[Job]:
    """Every trial of every method that is tuned."""
    setting, seed = plan.TUNING
    return [
        (name, setting, seed, trial, out / "tuning" / f"{name}-{number}", False)
        for name, method in plan.METHODS.items()
        for number, trial in enumerate(method.trials)
    ]


def scored_jobs(out: Path, chosen: dict[str, list[str]]) -> Iterator[Job]:
    """Every run that is scored: the model and its baselines first, seed by seed, then the ablations."""
    baselines = ["full", *plan.BASELINES]
    for methods, seed, setting in itertools.product((baselines, plan.ABLATIONS), plan.SEEDS, plan.SETTINGS):
        for name in methods:
            own = tuple(chosen[plan.METHODS[name].tuned_as or name])
            yield name, setting, seed, own, out / "runs" / f"{setting.replace(' ', '')}-{seed}" / name, True


def work(job: Job, out: Path) -> str:
    """One run, unless it is done; its folder is a link to the newest run below it."""
    import torch

    from mmnar_lightning import console
    from mmnar_lightning.config.compose import load
    from mmnar_lightning.runs import folders

    name, setting, seed, chosen, folder, evaluate = job
    if (folder / "done").is_file():
        return f"{folder.relative_to(out)} is done"
    torch.set_num_threads(1)
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    console.quieten()
    console._CONSOLE.quiet = True
    words = plan.words(name, setting, seed, chosen, str(out))
    trained = train(load([*words, f"paths.runs={folder}", f"evaluate={str(evaluate).lower()}"]))
    for heavy in trained.glob("checkpoints/*"):
        heavy.unlink()
    (folder / "done").write_text(str(trained.relative_to(folder)))
    return f"{folder.relative_to(out)}"


def validation_auroc(folder: Path) -> float:
    """The best mean AUROC on val of a run."""
    import polars as pl

    logged = pl.read_csv(folder / (folder / "done").read_text() / "metrics.csv", infer_schema_length=None)
    best = logged["val/auroc"].max()
    assert isinstance(best, float)
    return best


def choose(out: Path) -> dict[str, list[str]]:
    """The trial of each method with the highest validation AUROC; written beside the runs."""
    found = {
        name: [validation_auroc(out / "tuning" / f"{name}-{number}") for number in range(len(method.trials))]
        for name, method in plan.METHODS.items()
        if method.trials
    }
    chosen = {
        name: list(plan.METHODS[name].trials[max(range(len(scores)), key=scores.__getitem__)])
        for name, scores in found.items()
    }
    (out / CHOSEN).write_text(json.dumps({"validation_auroc": found, "chosen": chosen}, indent=1))
    return chosen


def main() -> None:
    """Tune, then run what is scored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/results"))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, mp_context=context) as pool:  # its workers may have children themselves
        _all(pool, tuning_jobs(out), out, "tuning")
        _all(pool, list(scored_jobs(out, choose(out))), out, "runs")


def _all(pool: ProcessPoolExecutor, jobs: list[Job], out: Path, what: str) -> None:
    for number, line in enumerate(pool.map(work, jobs, itertools.repeat(out)), start=1):
        print(f"{what} {number} of {len(jobs)}: {line}", flush=True)


if __name__ == "__main__":
    main()
