"""The same on releases: their files, texts as hashed n-grams and published image embeddings. Prints its table."""

import argparse
import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmarks.phases import plan, score
from benchmarks.phases.plan import BASELINES, Cell
from benchmarks.phases.run import is_done, quieten, run_of, train_once
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import read_truth, release_folder
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ExperimentConfig

SUBJECTS = 30_000
FILE = "phases_full.csv"
PRETRAINING = "cohort.pretraining_rows=true"
SHARED = {"shared": 1.0, "nuisance": 2.5, "label_share": 0.1}
CELLS = {
    "base": Cell(ablations=plan.PARTS),
    "nu-0.8": Cell(knobs={"nu": 0.8}, ablations=(*plan.PARTS, "no_piecewise")),
    "kappa-0.7": Cell(knobs={"kappa": 0.7}, ablations=plan.PARTS),
    "pi-0.9": Cell(knobs={"pi": 0.9}, ablations=plan.PARTS),
    "phi-2.5": Cell(knobs={"phi": 2.5}),
    "shared": Cell(knobs=SHARED, ablations=(*plan.HIDDEN, "pretrained")),
    "shared-all": Cell(knobs=SHARED | {"label_share": 1.0}, ablations=(*plan.HIDDEN, "pretrained")),
    "nuisance-2.5": Cell(knobs={"nuisance": 2.5}, ablations=plan.HIDDEN),
}
"""Name -> cell; the size is that of the release. A second site needs a target whose release has another `shift`, which
`transfer.target` cannot name: it shares the settings of the simulator with its source."""
COMMON = (
    *(word for word in plan.COMMON if not word.startswith("dataset=")),
    "simulate.databases=[mimic_iv]",
    "simulate.images=false",
    "embed.text.encoder=hashed_ngrams",
    "embed.image.encoder=release",
)


def words(cell: str, method: str, replicate: int, subjects: int, out: str) -> list[str]:
    """The command line of a run.

    Args:
        cell: its name.
        method: its name.
        replicate: seed of the release and of the training.
        subjects: of the release.
        out: folder of all cells.

    Returns:
        Words for `mmnar train`.

    >>> words("phi-2.5", "trees", 2, 3000, "out")[-2:]
    ['paths.runs=out/runs/phi-2.5/2/trees', 'seed=2']
    """
    world, chosen = CELLS[cell], plan.METHODS[method]
    drawn = [f"simulate.{name}={value}" for name, value in world.knobs.items()]
    drawn += [f"simulate.seed={replicate}", f"simulate.subjects={subjects}"]
    own = [*chosen.words, *([] if chosen.components == "unread" else [f"model.encoder.components={world.components}"])]
    few = subjects * plan.FRACTIONS["train"] * world.knobs.get("label_share", 1.0) < plan.FEW_LABELS
    own += [plan.INNER_FOLDS] * few + [PRETRAINING] * ("pretrained" in world.ablations)
    places = [f"paths.data={out}/data", f"paths.runs={out}/runs/{cell}/{replicate}/{method}"]
    return [f"experiment=mimic,{chosen.layers}", *COMMON, *drawn, *own, *places, f"seed={replicate}"]


def work(job: tuple[str, int], subjects: int, out: Path) -> list[dict[str, object]]:
    """Train what is missing of a cell's replicate, and score it."""
    cell, replicate = job
    quieten()
    place = out / "runs" / cell / str(replicate)
    configs = {name: load(words(cell, name, replicate, subjects, str(out))) for name in CELLS[cell].methods}
    for name, config in configs.items():
        if not is_done(place / name, name, config):
            train_once(name, config, place / name)
    best = max(BASELINES, key=lambda name: score.validation_auroc(run_of(place / name)))
    runs = {name: run_of(place / name) for name in configs}
    found = score.predictions(runs, oracle_of(configs["full"], out), "subject_id", best)
    tasks = [name.removeprefix("label/") for name in found.columns if name.startswith("label/")]
    rows = found.with_columns(replicate=pl.lit(replicate, pl.Int64)).drop_nulls()
    scored = score.rows(cell, score.Cell(tasks, rows, {replicate: best}), CELLS[cell].pairs)
    return [
        {**row, "replicate": replicate, "predicted_low": None, "predicted_high": None, "verdict": None}
        for row in scored
    ]


def oracle_of(config: ExperimentConfig, out: Path) -> pl.DataFrame:
    """`subject_id` and `oracle/<task>` of the release of a run."""
    knobs: SimulateConfig = replace(config.simulate, databases=["mimic_iv"])
    truth = read_truth(release_folder(knobs, out / "data"), "mimic_iv")
    best = [name for name in truth.columns if name.startswith("oracle_all/")]
    named = [pl.col(name).alias(name.replace("oracle_all/", "oracle/")) for name in best]
    return truth.select(pl.col("subject_id").cast(pl.String), *named)


def main() -> None:
    """Train, score, print and write the parts of every cell and replicate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/phases_full"))
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--replicates", nargs="+", type=int, default=list(plan.REPLICATES))
    given = parser.parse_args()
    out = given.out.absolute()
    jobs = [(cell, replicate) for replicate in given.replicates for cell in given.cells]
    context, rows = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(given.processes, mp_context=context) as pool:
        for found in pool.map(work, jobs, itertools.repeat(given.subjects), itertools.repeat(out)):
            rows += found
            for row in found:
                shown = f"{row['value']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
                print(
                    f"{row['cell']} {row['replicate']}: {row['part']} {row['method']} minus {row['minus']}: {shown}",
                    flush=True,
                )
    pl.DataFrame(rows, infer_schema_length=None).write_csv(out / FILE, float_precision=5)


if __name__ == "__main__":
    main()
