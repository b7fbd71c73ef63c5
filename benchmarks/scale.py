"""The open MIMIC-IV demo, multiplied to as many patients as a measurement needs.

Every copy gets keys of its own, so joins stay inside a copy; all else is that of the demo. The clinical content is
the same in every copy: use the result for time and memory only, never for scores. It is a derived database under
the demo's licence (ODbL): keep it out of public places.
"""

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from data_modules.cohorts.build import plan
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.further import FURTHER
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from mmnar_lightning.config import compose

DEMO = "mimic-iv-demo"
EXPERIMENT = "mimic_structured"
KEYS = (
    "subject_id", "hadm_id", "stay_id", "labevent_id", "specimen_id", "microevent_id", "micro_specimen_id",
    "pharmacy_id", "orderid", "linkorderid",
)  # fmt: skip
"""Columns that identify someone or something of one patient."""
KEY_STEP = 1_000_000_000
"""What a copy adds to its keys; larger than any key that is published."""
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


def demo_roots() -> str | None:
    """Roots of the open MIMIC-IV demo with its rebuilt chartevents, or None."""
    folder = demo(DEMO)
    return None if folder is None else f"{folder}:{folder / 'reconstructed_from_meds'}"


def settings(*, further: bool = False) -> MIMICCohortConfig:
    """What the experiment asks of its cohort; with `further`, also every modality of `further.FURTHER`."""
    cohort = compose.load([f"experiment={EXPERIMENT}"]).cohort
    assert isinstance(cohort, MIMICCohortConfig)
    return replace(cohort, modalities=[*cohort.modalities, *FURTHER]) if further else cohort


def tables_read(release: Release, *, further: bool = False) -> list[str]:
    """Every table that the cohort build of the experiment reads."""
    chosen = settings(further=further)
    return [*release.schema.core_tables, *sorted(plan(database("mimic"), release, chosen).tables)]


def multiply(file: Path, copies: int, target: Path) -> None:
    """Write copies of a table into one gzip member, streamed, each with keys of its own."""
    table = pl.read_csv(file, infer_schema=False)
    keys = pl.col([name for name in table.columns if name in KEYS]).cast(pl.Int64)
    assert table.select(keys.max()).max_horizontal().item() < KEY_STEP, f"{file}: a key is larger than {KEY_STEP}"
    renewed = [table.lazy().with_columns(keys + copy * KEY_STEP) for copy in range(copies)]
    if "poe_seq" in table.columns:
        order = pl.format("{}-{}", "subject_id", "poe_seq")
        renewed = [frame.with_columns(poe_id=order) for frame in renewed]
    pl.concat(renewed).sink_csv(target, compression="gzip", compression_level=GZIP_LEVEL, mkdir=True)


def scale(roots: str, num_patients: int, folder: Path) -> Path:
    """Multiply the demo to at least so many patients; returns the root, written now or found in `folder`."""
    release = Release.parse(MIMIC_IV, roots)
    copies = math.ceil(num_patients / pl.read_csv(release.files["patients"]).height)
    root = folder / f"{DEMO}-{copies}x"
    if not (root / DONE).is_file():
        for name in tables_read(release, further=True):
            multiply(release.files[name], copies, root / f"{MIMIC_IV.tables[name].path}.csv.gz")
        (root / DONE).write_text(f"{num_patients}\n", encoding="utf-8")
    return root


def main(words: Sequence[str] | None = None) -> None:
    """Write one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=10_000, help="how many (the demo has 100)")
    parser.add_argument("--keep", type=Path, required=True, help="folder to write into, or to find it in")
    arguments = parser.parse_args(words)
    roots = demo_roots()
    if roots is not None:
        started = time.perf_counter()
        root = scale(roots, arguments.patients, arguments.keep)
        print(f"{root}: {arguments.patients} patients ({time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    main()
