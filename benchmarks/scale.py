"""An open demo, multiplied to as many patients as a measurement needs.

Every copy gets keys of its own, so joins stay inside a copy; all else is that of the demo. The clinical content is
the same in every copy: use the result for time and memory only, never for scores. It is a derived database under
the demo's licence (ODbL): keep it out of public places.
"""

import argparse
import math
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmarks.databases import BENCHED, Benched
from data_modules.cohorts import build
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.raw.schema import Table
from mmnar_lightning.config import compose

KEY_STEP = 100_000_000_000
"""What a copy adds to its keys that are numbers; larger than any key of a demo or of a simulated release."""
GZIP_LEVEL = 1
DONE = "patients"
"""Written last: a folder without it was left half-way."""


def demo(name: str) -> Path | None:
    """Folder of an open demo, or None, saying where it was looked for."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for base in filter(None, (os.environ.get("MMNAR_DEMO_DATA"), str(beside))):
        if (Path(base) / name).is_dir():
            return Path(base) / name
    print(f"nothing is measured: the open demo {name} is not in MMNAR_DEMO_DATA nor in {beside}")
    return None


def demo_roots(benched: Benched) -> str | None:
    """Roots of an open demo with its rebuilt tables, or None."""
    folder = demo(benched.demo)
    return None if folder is None else f"{folder}:{folder / benched.rebuilt}"


def settings(benched: Benched, *, further: bool = False) -> ReleaseCohortConfig:
    """What the experiment asks of its cohort; with `further`, also the further modalities of the database."""
    cohort = compose.load([f"experiment={benched.experiment}"]).cohort
    assert isinstance(cohort, ReleaseCohortConfig)
    return replace(cohort, modalities=[*cohort.modalities, *benched.further]) if further else cohort


def tables_read(benched: Benched, release: Release, *, further: bool = False) -> list[str]:
    """Every table that the cohort build of the experiment reads."""
    return sorted(build.tables_read(database(benched.dataset), release, settings(benched, further=further)))


def multiply(file: Path, table: Table, keys: Collection[str], copies: int, target: Path) -> None:
    """Write copies of a table into one gzip member, streamed, each with keys of its own; one copy if it has no key."""
    rows = pl.read_csv(file, infer_schema=False)
    found = [name for name in rows.columns if name in keys]
    numbers = pl.col([name for name in found if table.columns[name].is_integer()]).cast(pl.Int64)
    texts = pl.col([name for name in found if table.columns[name] == pl.String])
    largest = rows.select(pl.max_horizontal(pl.lit(0), numbers.max())).item()
    assert largest < KEY_STEP, f"{file}: a key is larger than {KEY_STEP}"
    renewed = [
        rows.lazy().with_columns(numbers + copy * KEY_STEP, texts + f"-{copy}")
        for copy in range(copies if found else 1)
    ]
    pl.concat(renewed).sink_csv(target, compression="gzip", compression_level=GZIP_LEVEL, mkdir=True)


def scale(dataset: str, roots: str, num_patients: int, folder: Path) -> Path:
    """Multiply a demo to at least so many patients; returns the root, written now or found in `folder`."""
    benched = BENCHED[dataset]
    release = Release.parse(benched.schema, roots)
    people, patient = benched.people
    copies = math.ceil(num_patients / pl.read_csv(release.files[people], columns=[patient])[patient].n_unique())
    root = folder / f"{benched.demo}-{copies}x"
    if not (root / DONE).is_file():
        for name in tables_read(benched, release, further=True):
            table = benched.schema.tables[name]
            multiply(release.files[name], table, benched.keys, copies, root / f"{table.path}.csv.gz")
        (root / DONE).write_text(f"{num_patients}\n", encoding="utf-8")
    return root


def main(words: Sequence[str] | None = None) -> None:
    """Write one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=list(BENCHED), default="mimic", help="the database")
    parser.add_argument("--patients", type=int, default=10_000, help="how many (the demos have 100 and 1,841)")
    parser.add_argument("--keep", type=Path, required=True, help="folder to write into, or to find it in")
    arguments = parser.parse_args(words)
    roots = demo_roots(BENCHED[arguments.dataset])
    if roots is not None:
        started = time.perf_counter()
        root = scale(arguments.dataset, roots, arguments.patients, arguments.keep)
        print(f"{root}: {arguments.patients} patients ({time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    main()
