"""Write docs/phases.md below its marker, docs/phases.csv and the figure, from the runs that are there."""

import argparse
import itertools
import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl

from benchmarks.phases import figure, plan, score
from benchmarks.phases.predictions import BEST, PARTS, PREDICTIONS
from benchmarks.phases.run import OUT
from mmnar_lightning.report import style

DOCS = Path("docs")
MARKER = "<!-- written by make phases; what stands above is not -->"
CHOSEN, NOT_RUN = "chosen", "not run"


def table_of(out: Path, processes: int) -> pl.DataFrame:
    """Score every cell that has a finished replicate."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        found = pool.map(score.score, itertools.repeat(out), plan.CELLS)
        return pl.DataFrame(list(itertools.chain.from_iterable(found)), infer_schema_length=None)


def write(found: pl.DataFrame, docs: Path) -> None:
    """Write the page, its table and its figure.

    Args:
        found: of `table_of`.
        docs: folder of the pages.
    """
    found.write_csv(docs / "phases.csv", float_precision=5)
    style.save(figure.draw(found), docs / "figures" / "phases.png", style.ON_PAGE, style.PAGE_DPI)
    parts = [_predictions(found), _best(found), _parts(found), _lead(found), _methods(found)]
    page = docs / "phases.md"
    above = page.read_text(encoding="utf-8").split(MARKER)[0]
    page.write_text(above + MARKER + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _predictions(found: pl.DataFrame) -> str:
    measured = {(row["cell"], row["part"]): row for row in found.iter_rows(named=True)}
    rows, counts = [], dict.fromkeys(("holds", "open", "fails", NOT_RUN), 0)
    for entry in PREDICTIONS:
        row = measured.get((entry.cell, entry.part))
        verdict, shown = (row["verdict"], interval(row)) if row else (NOT_RUN, "")
        counts[verdict] += 1
        marked = f"**{verdict}**" if verdict in {"open", "fails"} else verdict
        rows.append([entry.cell, PARTS[entry.part], range_of(entry.low, entry.high), shown, marked])
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    header = ["world", "difference", "predicted", "found", "verdict"]
    picture = "![what each part adds, by world](figures/phases.png)"
    title = "## Predictions and what was found"
    return f"{title}\n\nOf {len(rows)} ranges: {text}.{_unfinished(found)}\n\n{picture}\n\n{markdown(header, rows)}"


def _unfinished(found: pl.DataFrame) -> str:
    """Which cells have fewer replicates than planned, and which methods not all of these have."""
    scored = found.filter(pl.col("part") == "")
    counts = dict(scored.group_by("cell").agg(pl.col("replicates").first()).rows())
    listed = [f"{cell} ({counts.get(cell, 0)})" for cell in plan.CELLS if counts.get(cell, 0) < len(plan.REPLICATES)]
    text = f" Not all replicates are there of: {', '.join(listed)}." if listed else ""
    there = set(scored.select("cell", "method").rows())
    lacking = [
        f"{cell} ({', '.join(missing)})"
        for cell, world in plan.CELLS.items()
        if cell in counts and (missing := [name for name in world.methods if (cell, name) not in there])
    ]
    return text + (f" Not all methods are there of: {', '.join(lacking)}." if lacking else "")


def _best(found: pl.DataFrame) -> str:
    """Which baseline has the highest mean AUROC on test, in every cell."""
    rows = []
    baselines = found.filter(pl.col("part") == "", pl.col("method").is_in(list(plan.BASELINES)))
    for (cell,), scored in baselines.group_by("cell", maintain_order=True):
        first, second = scored.sort("value", descending=True).head(2).iter_rows(named=True)
        names = [plan.BASELINES[row["method"]] for row in (first, second)]
        predicted = BEST.get(str(cell), "")
        verdict = ("holds" if predicted == names[0] else "**fails**") if predicted else ""
        behind = f"{names[1]} ({second['value'] - first['value']:+.4f})"
        rows.append([str(cell), predicted, names[0], behind, verdict])
    rows += [[cell, name, "", "", NOT_RUN] for cell, name in BEST.items() if cell not in found["cell"]]
    header = ["world", "predicted", "best baseline on test", "second", "verdict"]
    return f"## The best baseline\n\n{markdown(header, rows)}"


def _parts(found: pl.DataFrame) -> str:
    rows = []
    columns = (
        "conditioning",
        "reconstruction",
        "contrast",
        "rectifier",
        "additive",
        "piecewise",
        "columns",
        "pretraining",
        "canonical",
        "axes",
    )
    for cell in found["cell"].unique(maintain_order=True):
        own = {row["part"]: interval(row) for row in _pairs(found, cell).iter_rows(named=True)}
        if own.keys() & set(columns):
            rows.append([cell, *(own.get(part, "") for part in columns)])
    text = "Differences of mean AUROC; empty where a part was not taken away."
    return f"## What each part earns\n\n{text}\n\n{markdown(['world', *columns], rows)}"


def _lead(found: pl.DataFrame) -> str:
    rows = []
    for cell in found["cell"].unique(maintain_order=True):
        own = {row["part"]: interval(row) for row in _pairs(found, cell).iter_rows(named=True)}
        chosen = found.filter(pl.col("cell") == cell, pl.col("part") == CHOSEN)["method"].to_list()
        names = ", ".join(dict.fromkeys(plan.BASELINES[name] for name in chosen))
        rows.append([cell, own["lead"], names, own["fusion"], own["gap"], own["headroom"]])
    header = ["world", PARTS["lead"], "chosen on val", PARTS["fusion"], "oracle minus full", PARTS["headroom"]]
    return f"## The distance to the best fair baseline and to the oracle\n\n{markdown(header, rows)}"


def _methods(found: pl.DataFrame) -> str:
    shown = ("full", *plan.BASELINES)
    rows = []
    for cell in found["cell"].unique(maintain_order=True):
        own = {row["method"]: row for row in _scored(found, cell).iter_rows(named=True)}
        oracle = own["full"]["auroc"] - own["full"]["value"]
        counted = f"{cell} ({own['full']['replicates']})"
        rows.append([counted, f"{oracle:.4f}", *(f"{own[name]['value']:+.4f}" for name in shown)])
    header = ["world (replicates)", "oracle", *(plan.BASELINES.get(name, name) for name in shown)]
    text = "Mean AUROC of the oracle, and of the methods minus the oracle's; intervals are in `docs/phases.csv`."
    return f"## Every method\n\n{text}\n\n{markdown(header, rows)}"


def _scored(found: pl.DataFrame, cell: str) -> pl.DataFrame:
    return found.filter(pl.col("cell") == cell, pl.col("part") == "")


def _pairs(found: pl.DataFrame, cell: str) -> pl.DataFrame:
    return found.filter(pl.col("cell") == cell, ~pl.col("part").is_in(["", CHOSEN]))


def interval(row: dict[str, float]) -> str:
    """A difference and its interval.

    >>> interval({"value": 0.01234, "low": -0.001, "high": 0.02})
    '+0.0123 (-0.0010 to +0.0200)'
    """
    return f"{row['value']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"


def range_of(low: float, high: float) -> str:
    """A predicted range in words.

    >>> range_of(0.01, math.inf), range_of(-math.inf, 0.0), range_of(-0.002, 0.002)
    ('+0.01 or more', '+0 or less', '-0.002 to +0.002')
    """
    if math.isinf(high):
        return f"{low:+g} or more"
    return f"{high:+g} or less" if math.isinf(low) else f"{low:+g} to {high:+g}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    >>> print(markdown(["a"], [["1"]]))
    | a |
    |---|
    | 1 |
    """
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    """Write the page of a folder of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    write(table_of(given.out.absolute(), given.processes), given.docs)


if __name__ == "__main__":
    main()
