"""Draw every world and train every method in it, in two processes; a stopped comparison is resumed."""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

from benchmarks.phases import cohorts, plan
from data_modules import stage
from mmnar_lightning.config.compose import flatten, load, to_plain
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.config.layers import shared_settings
from mmnar_lightning.runs.protocols import train

DONE = "done.json"
OUT = Path("data/phases")


def jobs(cells: Sequence[str], replicates: Sequence[int]) -> list[tuple[str, int]]:
    """Cells and replicates, the first replicate of every cell first."""
    return [(cell, replicate) for replicate in replicates for cell in cells]


def work(job: tuple[str, int], out: Path) -> str:
    """Train every method of a cell's replicate that is not trained with these settings, and return a line."""
    cell, replicate = job
    quieten()
    start, place = time.process_time(), out / cell / str(replicate)
    configs = {name: load(plan.words(cell, name, replicate, str(place))) for name in plan.CELLS[cell].methods}
    missing = {name: config for name, config in configs.items() if not is_done(place / "runs" / name, name, config)}
    if missing:
        cohorts.write(plan.CELLS[cell], replicate, place)
    for name, config in missing.items():
        train_once(name, config, place / "runs" / name)
    shutil.rmtree(place / "data", ignore_errors=True)
    return f"{cell} {replicate}: {len(missing)} runs, {time.process_time() - start:.0f} s"


def quieten() -> None:
    """Print nothing, and use one core."""
    import torch

    from mmnar_lightning import console

    torch.set_num_threads(1)
    console.quieten()
    console._CONSOLE.quiet = True


def train_once(name: str, config: ExperimentConfig, folder: Path) -> None:
    """Train a run in a folder of its own, and keep its tables alone."""
    from mmnar_lightning.report import figures
    from mmnar_lightning.runs import folders

    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    shutil.rmtree(folder, ignore_errors=True)
    with mock.patch.object(figures, "draw_results"):  # figures of single runs are not used
        trained = train(config)
    for heavy in trained.glob("checkpoints/*"):
        heavy.unlink()
    stage.write_json(folder / DONE, {"run": str(trained.relative_to(folder)), "settings": settings(name, config)})


def settings(name: str, config: ExperimentConfig) -> str:
    """A fingerprint of a method: its version, and the settings that differ from the defaults of a custom cohort.

    A new key does not change it. Where the data lie is not part of it, but which custom cohort is.
    """
    plain = flatten({**to_plain(config), "paths": Path(config.paths.cohort).name})
    usual = flatten(shared_settings(config.dataset))
    changed = {key: value for key, value in plain.items() if value != usual.get(key)}
    version = plan.METHODS[name].version
    return stage.digest(changed | ({"version": version} if version > 1 else {}))


def is_done(folder: Path, name: str, config: ExperimentConfig) -> bool:
    """Whether a method was trained with these settings."""
    path = folder / DONE
    return path.is_file() and json.loads(path.read_text())["settings"] == settings(name, config)


def run_of(folder: Path) -> Path:
    """The folder of the run of a method."""
    return folder / str(json.loads((folder / DONE).read_text())["run"])


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cells", nargs="+", default=list(plan.CELLS), choices=list(plan.CELLS))
    parser.add_argument("--replicates", nargs="+", type=int, default=list(plan.REPLICATES))
    given = parser.parse_args()
    out = given.out.absolute()
    listed = jobs(given.cells, given.replicates)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, mp_context=context) as pool:  # its workers may have children themselves
        for number, line in enumerate(pool.map(work, listed, itertools.repeat(out)), start=1):
            print(f"{number} of {len(listed)}: {line}", flush=True)


if __name__ == "__main__":
    main()
