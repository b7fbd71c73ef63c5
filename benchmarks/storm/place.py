"""What the storm is let loose on: every stage with its inputs, its duration, and what it leaves if nothing happens."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.storm.processes import run

Results = dict[str, str]
"""Name of a file, or of a run's results -> digest of its content."""
SUBJECTS = 60
CUSTOM = (
    "dataset=custom", "paths.cohort=given", "embed.text.encoder=hashed_ngrams", "trainer.progress_bar=false",
    "trainer.accelerator=cpu", "wandb.enabled=false", "loader.batch_size=32", "model.fusion.dim=16",
    "model.fusion.num_heads=2", "evaluation.num_replicates=100", "trainer.max_epochs=3",
)  # fmt: skip
ESTIMATOR = (
    "dataset=custom", "experiment=baselines/logistic_regression", "paths.cohort=given", "wandb.enabled=false",
    "embed.text.encoder=hashed_ngrams", "evaluation.num_replicates=100", "paths.runs=estimators",
)  # fmt: skip
SCORED = ("evaluate", "dataset=custom", "evaluation.num_replicates=100")
VOLATILE = ("run_id", "environment")
IGNORED = (".lock", ".log", ".partial")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A command and what it leaves.

    Attributes:
        name: of the stage.
        words: after `mmnar`; `{fitted}` is the folder of a trained run.
        start: files and folders of the whole place that it starts from.
        made: the folder -> what the command left.
        kills: number of kills.
    """

    name: str
    words: Sequence[str]
    start: Sequence[str]
    made: Callable[[Path], Results]
    kills: int


def tree(name: str) -> Callable[[Path], Results]:
    """A function that describes all files of a folder."""

    def describe(place: Path) -> Results:
        files = sorted(path for path in (place / name).rglob("*") if path.is_file() and path.suffix not in IGNORED)
        return {str(path.relative_to(place)): _digest(path) for path in files}

    return describe


def _digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(gzip.decompress(content) if path.suffix == ".gz" else content).hexdigest()


def finished(runs: str, *below: str) -> Callable[[Path], Results]:
    """A function that describes the results of all finished runs of a folder; equal ones count once."""

    def describe(place: Path) -> Results:
        found: set[str] = set()
        for done in (place / runs).glob("*/*/DONE" if not below else f"*/*/{'/'.join(below)}/DONE"):
            found.add(_results(done.parent))
        return {str(number): digest for number, digest in enumerate(sorted(found))}

    return describe


def _results(folder: Path) -> str:
    plain = json.loads((folder / "results.json").read_text())
    kept = {key: value for key, value in plain.items() if key not in VOLATILE}
    table = pl.read_parquet(folder / "predictions.parquet").sort("row_id").write_csv()
    return hashlib.sha256((json.dumps(kept, sort_keys=True) + table).encode()).hexdigest()


STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="simulate",
            words=("simulate", "out=release", f"simulate.subjects={SUBJECTS}", "simulate.databases=[mimic_iv]"),
            start=(),
            made=tree("release"),
            kills=35,
        ),
        Stage(
            name="cohort",
            words=("cohort", "experiment=mimic_structured", "paths.mimic_root=release"),
            start=("release",),
            made=tree("data/cohorts"),
            kills=50,
        ),
        Stage(name="embed", words=("embed", *CUSTOM), start=("given",), made=tree("data/embeddings"), kills=25),
        Stage(name="train", words=("train", *CUSTOM), start=("given", "own"), made=finished("runs"), kills=30),
        Stage(
            name="train on 2 ranks",
            words=("train", *CUSTOM, "trainer.devices=2"),
            start=("given", "own"),
            made=finished("runs"),
            kills=15,
        ),
        Stage(
            name="train an estimator",
            words=("train", *ESTIMATOR),
            start=("given", "own"),
            made=finished("estimators"),
            kills=10,
        ),
        Stage(
            name="evaluate",
            words=(*SCORED, "run={fitted}", "paths.cohort=given"),
            start=("given", "own", "fitted"),
            made=finished("fitted"),
            kills=15,
        ),
        Stage(
            name="evaluate elsewhere",
            words=(*SCORED, "run={fitted}", "paths.cohort=other", "evaluation.elsewhere=carried"),
            start=("given", "other", "own", "fitted"),
            made=finished("fitted", "elsewhere", "*"),
            kills=10,
        ),
        Stage(
            name="predict",
            words=("predict", "dataset=custom", "run={fitted}", "paths.cohort=other", "out=here"),
            start=("other", "fitted"),
            made=tree("here"),
            kills=10,
        ),
    )
}
"""Name -> stage, in the order of the program."""


def build(whole: Path) -> None:
    """Build the place with everything that stages start from, and run each once undisturbed; a built one is kept."""
    if (whole / "undisturbed.json").is_file():
        return
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    write_cohort(whole / "given", seed=0)
    write_cohort(whole / "other", seed=1)
    for words in (
        STAGES["simulate"].words,
        ("train", *CUSTOM, "evaluate=false", "paths.runs=fitted"),
        ("train", *CUSTOM, "paths.runs=scored"),
        ("train", *ESTIMATOR, "evaluate=false"),
    ):
        _require(whole, words)
    shutil.move(whole / "data", whole / "own")
    undisturbed = {}
    for stage in STAGES.values():
        place = copy(whole, stage.start, whole / "once")
        seconds = _require(place, words_of(stage, place))
        undisturbed[stage.name] = {"seconds": seconds, "made": stage.made(place)}
        shutil.rmtree(place)
    (whole / "undisturbed.json").write_text(json.dumps(undisturbed))


def _require(place: Path, words: Sequence[str]) -> float:
    ended = run(place, words)
    if ended.status:
        raise SystemExit(f"mmnar {' '.join(words)} ended with status {ended.status}:\n{ended.output}")
    return ended.seconds


def words_of(stage: Stage, place: Path) -> list[str]:
    """The words of a stage's command."""
    return [word.replace("{fitted}", run_of(place, "fitted")) if "{" in word else word for word in stage.words]


def run_of(place: Path, runs: str) -> str:
    """The folder of the only run of a folder, relative to the place."""
    (config,) = (place / runs).glob("*/*/config.yaml")
    return str(config.parent.relative_to(place))


def copy(whole: Path, start: Sequence[str], place: Path) -> Path:
    """Copy files and folders into a new place; `own` becomes data/."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in start:
        shutil.copytree(whole / name, place / ("data" if name == "own" else name))
    return place


def write_cohort(folder: Path, seed: int) -> None:
    """A custom cohort of 150 subjects with a table, vectors and notes."""
    generator = np.random.default_rng(seed)
    rows = 300
    health, seen, noted = generator.normal(size=rows), generator.random(rows) < 0.6, generator.random(rows) < 0.5
    row_id = np.arange(rows)
    cohort = {
        "row_id": row_id,
        "subject_id": [f"s{row // 2:04d}" for row in range(rows)],
        "label/first": health + generator.normal(size=rows) > 0.3,
        "label/second": health > 0.4,
        "present/table": [True] * rows,
        "present/vectors": seen,
        "present/notes": noted,
    }
    for name in ("table", "vectors", "notes"):
        (folder / "modalities" / name).mkdir(parents=True)
    pl.DataFrame(cohort).write_parquet(folder / "cohort.parquet")
    table = health[:, None] + generator.normal(size=(rows, 4))
    columns = {f"c{column}": table[:, column] for column in range(4)}
    pl.DataFrame({"row_id": row_id, **columns}).write_parquet(folder / "modalities" / "table" / "table.parquet")
    np.save(folder / "modalities" / "vectors" / "vectors.npy", generator.normal(size=(rows, 8)).astype(np.float32))
    texts = [f"chest pain {'severe ' * int(health[row] > 0)}day {row % 7}" for row in np.flatnonzero(noted)]
    notes = pl.DataFrame({"row_id": np.flatnonzero(noted), "text": texts})
    notes.write_parquet(folder / "modalities" / "notes" / "documents.parquet")
