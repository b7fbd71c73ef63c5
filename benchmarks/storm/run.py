"""Try all cases, print how many held, and write docs/reliability.md: `make storm`; a stopped storm is resumed."""

import argparse
import json
import os
import random
import shutil
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import polars as pl

from benchmarks.storm import damage, inputs, kills
from benchmarks.storm.case import Case
from benchmarks.storm.page import counts, page
from benchmarks.storm.place import build

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
TRIED, CASE = "tried.jsonl", "case-"
WORK = {"kill": kills.tried, "damage": damage.tried, "input": inputs.tried}


def all_cases(whole: Path) -> list[Case]:
    """Every case, in an order that mixes kinds, so that a storm that is cut short has tried some of each."""
    found = [*kills.cases(), *damage.cases(whole), *inputs.cases()]
    random.Random(0).shuffle(found)
    return found


def storm(folder: Path, minutes: float, processes: int, most: int | None = None) -> pl.DataFrame:
    """Try the cases that were not tried before, until the time is over.

    Args:
        folder: of the storm.
        minutes: after which no further case is started.
        processes: cases at a time.
        most: number of cases; None is all.

    Returns:
        `kind`, `what`, `number`, `problem` of all that were tried.
    """
    deadline = time.monotonic() + 60 * minutes
    whole = folder.absolute() / "whole"
    for left in folder.absolute().glob(f"{CASE}*"):  # of a storm that was killed
        shutil.rmtree(left)
    build(whole)
    known, wanted = before(folder), all_cases(whole)[:most]
    missing = [case for case in wanted if case not in known]
    with ThreadPoolExecutor(processes) as pool, (folder / TRIED).open("a", encoding="utf-8") as log:
        waiting = {pool.submit(one, case, whole, deadline): case for case in missing}
        for future in as_completed(waiting):
            problem, case = future.result(), waiting[future]
            if problem is not None:
                known[case] = problem
                log.write(json.dumps([*case, problem]) + "\n")
                log.flush()
                print(f"{len(known)} of {len(wanted)}: {' '.join(map(str, case))}: {problem or 'held'}", flush=True)
    rows = [{**case._asdict(), "problem": known[case]} for case in wanted if case in known]
    return pl.DataFrame(rows, schema={"kind": pl.String, "what": pl.String, "number": pl.Int64, "problem": pl.String})


def one(case: Case, whole: Path, deadline: float) -> str | None:
    """Try a case in a folder of its own; None if the time is over."""
    if time.monotonic() > deadline:
        return None
    place = whole.parent / f"{CASE}{zlib.crc32(repr(case).encode()):08x}"
    try:
        return WORK[case.kind](case, whole, place, json.loads((whole / "undisturbed.json").read_text()))
    except Exception as error:  # a case that cannot be judged has not held
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def before(folder: Path) -> dict[Case, str]:
    """The cases that an interrupted storm has tried, and their problems."""
    path = folder / TRIED
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {Case(kind, what, number): problem for kind, what, number, problem in map(json.loads, lines)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Storm, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/storm"), help="of what is built and was tried")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no further case is started")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="cases at a time")
    parser.add_argument("--most", type=int, help="number of cases")
    parser.add_argument("--page", type=Path, default=PAGE, help="to write")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    tried = storm(given.folder, given.minutes, given.processes, given.most)
    given.page.write_text(page(tried), encoding="utf-8")
    print(counts(tried))


if __name__ == "__main__":
    main()
