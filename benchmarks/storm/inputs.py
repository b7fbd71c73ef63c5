"""Bad inputs: each is refused in words, without a cell of a record, and spoils nothing of the next one."""

import gzip
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.storm import place as places
from benchmarks.storm.case import Case
from benchmarks.storm.kills import different, last_line
from benchmarks.storm.place import CUSTOM, STAGES
from benchmarks.storm.processes import DEFECT, Ended, run

CELL = "Mrs-Canary-2171-03-04"
Lines = list[str]


def _text(lines: Lines, chance: random.Random) -> bytes:
    row = chance.randrange(1, len(lines))
    cells = lines[row].split(",")
    cells[chance.randrange(len(cells))] = CELL
    return "\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :]]).encode()


def _extra(lines: Lines, chance: random.Random) -> bytes:
    row = chance.randrange(1, len(lines))
    return "\n".join([*lines[:row], f"{lines[row]},{CELL}", *lines[row + 1 :]]).encode()


def _quote(lines: Lines, chance: random.Random) -> bytes:
    row = chance.randrange(1, len(lines))
    return "\n".join([*lines[:row], f'"{CELL}{lines[row]}', *lines[row + 1 :]]).encode()


def _column(lines: Lines, chance: random.Random) -> bytes:
    names = lines[0].split(",")
    names[chance.randrange(len(names))] += "_x"
    return "\n".join([",".join(names), *lines[1:]]).encode()


TABLES: Mapping[str, Callable[[Lines, random.Random], bytes]] = {
    "text in place of a value": _text,
    "a field too many": _extra,
    "an open quotation mark": _quote,
    "a renamed column": _column,
    "bytes that are no text": lambda lines, _: "\n".join(lines).encode() + b"\n\xff\xfe\x00" + CELL.encode(),
    "a header alone": lambda lines, _: lines[0].encode(),
    "nothing": lambda _, __: b"",
}
"""Kind -> the content of a table."""


def _cut(path: Path, _: random.Random) -> None:
    content = gzip.compress(path.read_bytes()) if path.suffix != ".gz" else path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _parquet(column: str, values: Callable[[int], list[object]]) -> Callable[[Path], None]:
    def change(given: Path) -> None:
        path = given / "cohort.parquet"
        table = pl.read_parquet(path)
        table.with_columns(pl.Series(column, values(table.height))).write_parquet(path)

    return change


def _written(name: str) -> Callable[[Path], None]:
    def change(given: Path) -> None:
        (given / name).write_text(CELL)

    return change


COHORTS: Mapping[str, Callable[[Path], None]] = {
    "row_id is text": _parquet("row_id", lambda rows: [CELL] * rows),
    "row_id twice": _parquet("row_id", lambda rows: [0] * rows),
    "no subject": _parquet("subject_id", lambda rows: [None] * rows),
    "label is text": _parquet("label/first", lambda rows: [CELL] * rows),
    "label of one class": _parquet("label/first", lambda rows: [True] * rows),
    "presence is text": _parquet("present/table", lambda rows: [CELL] * rows),
    "presence is unknown": _parquet("present/table", lambda rows: [None] * rows),
    "presence of nothing": _parquet("present/more", lambda rows: [True] * rows),
    "split of another name": _parquet("split", lambda rows: [CELL] * rows),
    "name that leaves the folder": _parquet("label/../../a", lambda rows: [True] * rows),
    "not Parquet": _written("cohort.parquet"),
    "table is text": _written("modalities/table/table.parquet"),
    "vectors of text": lambda given: np.save(given / "modalities/vectors/vectors.npy", np.array([[CELL]])),
    "vectors of other rows": lambda given: np.save(given / "modalities/vectors/vectors.npy", np.ones((3, 8))),
    "no modality": lambda given: shutil.rmtree(given / "modalities"),
}
"""Kind -> a change of a custom cohort."""
WORDS = (
    "seed=-1", "seed=one", "sede=1", "trainer.max_epochs=0", "trainer.max_epochs=1e3", "optim.lr=nan", "optim.lr=-1",
    "model.fusion.num_heads=7", "cohort.name=../a", "cohort.tasks=[nothing]", "cohort.modalities=[nothing]",
    "cohort.split.train=2", "cohort.split.test_fold=9", "paths.mimic_root=nowhere", "paths.data=/proc/no",
    "experiment=nothing", "experiment=../../a", "dataset=nothing", "embed.text.encoder=nothing", "trainer=3",
    "evaluation.num_replicates=3", "privacy.min_count=-1", "run=${oc.env:HOME}", "seed=[1", "=", "x",
    "objective.contrast=-2", "baseline.name=nothing", "rectifier.fit=nothing", "resume_with=[seed]",
    "wandb.project=a", "loader.batch_size=0", "cohort.index=second",
)  # fmt: skip


def cases() -> list[Case]:
    """All bad inputs: 45 tables, 2 of each change of a cohort, and settings."""
    tables = [Case("input", "table of a release", number) for number in range(45)]
    cohorts = [Case("input", "custom cohort", number) for number in range(2 * len(COHORTS))]
    return [*tables, *cohorts, *(Case("input", "setting", number) for number in range(len(WORDS)))]


def tried(case: Case, whole: Path, place: Path, undisturbed: dict[str, dict[str, object]]) -> str:
    """Run a command on a bad input, then the same command on a good one; returns what failed, or nothing."""
    chance = random.Random(f"{case.what} {case.number}")
    if case.what == "custom cohort":
        return _cohort(case.number, whole, place)
    cohort = STAGES["cohort"]
    places.copy(whole, cohort.start, place)
    more = [WORDS[case.number]] if case.what == "setting" else []
    if not more:
        _spoil(place / "release", chance)
    if problem := _problem_of(run(place, [*cohort.words, *more]), must_fail=bool(more)):
        return problem
    shutil.rmtree(place / "release")
    shutil.copytree(whole / "release", place / "release")
    return _again(run(place, cohort.words)) or _same(cohort.made(place), undisturbed["cohort"]["made"])


def _same(found: places.Results, expected: object) -> str:
    """What differs; the folder of a cohort from the bad input, where it could be built, lies beside the other."""
    assert isinstance(expected, dict)
    return different({name: found[name] for name in found if name in expected}, expected)


def _spoil(release: Path, chance: random.Random) -> None:
    tables = sorted(path for path in release.rglob("*") if path.name.endswith((".csv", ".csv.gz")))
    path, kind = chance.choice(tables), chance.choice([*TABLES, "cut", "missing"])
    if kind == "missing":
        path.unlink()
    elif kind == "cut":
        _cut(path, chance)
    else:
        packed = path.suffix == ".gz"
        content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        spoilt = TABLES[kind](content.decode().splitlines(), chance)
        path.write_bytes(gzip.compress(spoilt) if packed else spoilt)


def _cohort(number: int, whole: Path, place: Path) -> str:
    change, command = list(COHORTS.values())[number // 2], ("cohort", "embed")[number % 2]
    places.copy(whole, ("given",), place)
    change(place / "given")
    if problem := _problem_of(run(place, [command, *CUSTOM]), must_fail=False):
        return problem
    shutil.rmtree(place / "given")
    shutil.copytree(whole / "given", place / "given")
    return _again(run(place, [command, *CUSTOM]))


def _problem_of(ended: Ended, *, must_fail: bool) -> str:
    if CELL in ended.output:
        return "a cell is shown"
    if DEFECT in ended.output or "Traceback" in ended.output:
        return f"a traceback: {last_line(ended)}"
    if ended.status not in {0, 1} or (must_fail and not ended.status):
        return f"status {ended.status}: {last_line(ended)}"
    return ""


def _again(ended: Ended) -> str:
    return f"the good input then ended with status {ended.status}: {last_line(ended)}" if ended.status else ""
