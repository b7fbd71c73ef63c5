"""Flipped bits and truncations of every stored file: a command names the file, or does not read it."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from benchmarks.storm import place as places
from benchmarks.storm.case import Case
from benchmarks.storm.kills import different, last_line
from benchmarks.storm.place import CUSTOM, ESTIMATOR, SCORED, STAGES, finished, run_of
from benchmarks.storm.processes import DEFECT, run

UNREAD = (".lock", ".log", ".png", ".yaml")
"""Suffixes of files that no command verifies: locks, logs, figures, and settings, which a user may edit."""
STORED = ("own", "fitted", "scored", "estimators")
Reader = tuple[list[str], Callable[[Path], places.Results], str]
"""Words of a command, what it leaves, and the stage that leaves the same undisturbed; empty if none does."""


def files(whole: Path) -> list[str]:
    """Every stored file that a command reads, relative to the whole place."""
    return [
        path.relative_to(whole).as_posix()
        for name in STORED
        for path in sorted((whole / name).rglob("*"))
        if path.is_file() and path.suffix not in UNREAD and "logs" not in path.parts and path.stat().st_size
    ]


def cases(whole: Path) -> list[Case]:
    """Two flipped bits and one truncation of every file."""
    return [Case("damage", name, number) for name in files(whole) for number in range(3)]


def tried(case: Case, whole: Path, place: Path, undisturbed: dict[str, dict[str, object]]) -> str:
    """Damage a file, then run a command that reads it; returns what failed, or nothing."""
    places.copy(whole, ("given", "other", *STORED), place)
    top, _, below = case.what.partition("/")
    path = place / ("data" if top == "own" else top) / below
    damage(path, case.number % 2, random.Random(f"{case.what} {case.number}"))
    words, made, stage = _reader(case.what, place)
    ended = run(place, words)
    if DEFECT in ended.output or "Traceback" in ended.output:
        return f"a traceback: {last_line(ended)}"
    if ended.status:
        return "" if path.name in ended.output.replace("\n", "") else f"the file is not named: {last_line(ended)}"
    return different(made(place), undisturbed[stage]["made"]) if stage else ""


def damage(path: Path, kind: int, chance: random.Random) -> None:
    """Flip one bit (kind 0), or cut the file at a random place."""
    size = path.stat().st_size
    if kind:
        os.truncate(path, chance.randrange(size))
        return
    content = bytearray(path.read_bytes())
    content[chance.randrange(size)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _reader(name: str, place: Path) -> Reader:
    """The command that reads a file."""
    fitted = run_of(place, "fitted")
    if "/model/" in name:
        predict = STAGES["predict"]
        return places.words_of(predict, place), predict.made, "predict" if name.startswith("fitted") else ""
    if name.startswith("scored"):
        return [*SCORED, f"run={run_of(place, 'scored')}", "paths.cohort=given"], finished("scored"), "train"
    if name.startswith("estimators"):
        words = ["evaluate", *ESTIMATOR, f"run={run_of(place, 'estimators')}"]
        return words, finished("estimators"), "train an estimator"
    if name.endswith(("last.ckpt", "previous.ckpt")):
        (place / fitted / "DONE").unlink()
        words = ["train", *CUSTOM, "paths.runs=fitted", f"resume={fitted}"]
        return words, finished("fitted"), "train"
    evaluate = STAGES["evaluate"]
    return places.words_of(evaluate, place), evaluate.made, "evaluate"
