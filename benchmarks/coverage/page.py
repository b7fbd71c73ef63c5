"""The text of docs/coverage.md."""

from collections.abc import Callable, Sequence

import polars as pl

from benchmarks.coverage.many import section

Summary = Callable[[pl.DataFrame, Sequence[str]], pl.DataFrame]
SMALL = (0, 1, 2, 3, 5, 8, 12, 29, 99)
"""Upper ends of the ranges of rows of the smaller class; the last range is open."""
NAMES = ["0", "1", "2", "3", "4-5", "6-8", "9-12", "13-29", "30-99", "100+"]
NOMINAL = 0.93


def page(lines: pl.DataFrame, summary: Summary, biases: pl.DataFrame, many: pl.DataFrame) -> str:
    """Write the page.

    Args:
        lines: one per interval.
        summary: of lines, by columns.
        biases: of the calibration error.
        many: the lines of coverage_many.csv.

    Returns:
        Markdown.
    """
    edges = [edge + 0.5 for edge in SMALL]
    lines = lines.with_columns(pl.col("small").cut(edges, labels=NAMES).cast(pl.String).alias("range"))
    low = summary(lines, ["rows", "prevalence", "rows_per_subject", "folds", "figure"]).filter(
        pl.col("coverage") + 2 * pl.col("error_of_coverage") < NOMINAL
    )
    parts = [INTRODUCTION]
    for folds in (1, 5):
        for size, name in ((1.0, "one row per subject"), (2.5, "2.5 rows per subject")):
            chosen = lines.filter(folds=folds, rows_per_subject=size)
            fold = "one test set" if folds == 1 else f"{folds} folds"
            parts.append(f"## By rows of the smaller class: {fold}, {name}\n\n{_by_range(chosen, summary)}")
    parts.append(f"## By rows\n\n{_by_rows(lines, summary)}")
    parts.append(section(many))
    parts.append(f"## Cells below 93 %\n\n{_below(low, lines, summary)}")
    parts.append(f"## Bias of the calibration error\n\n{BIAS}\n\n{_biases(biases)}")
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(entry: dict[str, float | None]) -> str:
    """Coverage ± its error, width, and the share without an interval if there is one."""
    without = entry["without_interval"] or 0.0
    if entry["coverage"] is None:
        return "none"
    text = f"{entry['coverage']:.2f} ± {entry['error_of_coverage']:.2f}, {entry['width']:.2f}"
    return text + (f" (none: {without:.0%})" if without >= 0.005 else "")


def _grid(found: pl.DataFrame, column: str, names: Sequence[str]) -> str:
    rows = []
    for figure in found["figure"].unique(maintain_order=True):
        known = {entry[column]: _shown(entry) for entry in found.filter(figure=figure).to_dicts()}
        rows.append([figure.replace("_", " "), *(known.get(name, "") for name in names)])
    return _table(["", *names], rows)


def _by_range(lines: pl.DataFrame, summary: Summary) -> str:
    return _grid(summary(lines, ["figure", "range"]), "range", NAMES)


def _by_rows(lines: pl.DataFrame, summary: Summary) -> str:
    found = summary(lines.with_columns(pl.col("rows").cast(pl.String)), ["figure", "rows"])
    return _grid(found, "rows", found["rows"].unique(maintain_order=True).to_list())


def _below(low: pl.DataFrame, lines: pl.DataFrame, summary: Summary) -> str:
    """The cells whose coverage is below 93 % by more than two Monte Carlo standard errors."""
    total = summary(lines, ["rows", "prevalence", "rows_per_subject", "folds", "figure"]).height
    text = f"Of {total:,} cells, {low.height} cover less than 93 % by more than two Monte Carlo standard errors."
    header = ["figure", "rows", "prevalence", "rows per subject", "folds", "coverage, width"]
    keys = ("rows", "prevalence", "rows_per_subject", "folds")
    ordered = low.sort("figure", *keys).to_dicts()
    rows = [[entry["figure"], *(f"{entry[key]:g}" for key in keys), _shown(entry)] for entry in ordered]
    return f"{text}\n\n{_table(header, rows)}" if rows else text


def _biases(biases: pl.DataFrame) -> str:
    """The largest bias of each estimate over the prevalences, by model and rows."""
    rows = biases["rows"].unique(maintain_order=True)
    found = []
    for (model, estimate), own in biases.group_by("model", "estimate", maintain_order=True):
        largest = [own.filter(rows=number).sort(pl.col("bias").abs())["bias"][-1] for number in rows]
        whole = max(abs(value) for value in largest)
        found.append([str(model), str(estimate), *(f"{value:+.3f}" for value in largest), f"{whole:.3f}"])
    return _table(["model", "estimate", *(str(number) for number in rows), "largest"], found)


INTRODUCTION = """# Coverage of the intervals

`make coverage` writes this page and [coverage.csv](coverage.csv), one line per cell, in a quarter of an hour on one
core. Samples of 20 to 2,000 rows are drawn from worlds with known truth: prevalence 0.05 to 0.5; one row per subject,
or 2.5 on average, whose signal (share 0.6) and label are correlated; one test set, or five folds. A probit model
makes labels from a signal that the first model sees, from a part that a subject's rows share, and from noise. The
first model is calibrated; `overconfident` has its logits times 1.4 plus 0.3; `difference` is the first minus a second
model that sees the signal with noise; net benefits are the first model's, at the prevalence and at 1.5 times it. The
rule of the intervals is in [method.md](method.md), section 5.

Each entry is the share of intervals that hold the truth ± its Monte Carlo standard error, and the mean width; nominal
is 0.95. `none` is the share of samples with a value and no interval. Samples without a value (AUROC of one class) do
not count. Tables by rows of the smaller class condition on what the sample shows, as a reader does; the others are over
all samples of a world."""

BIAS = """Mean of the estimate minus the truth, the largest over prevalences, one row per subject. `15 bins` is the
plain error; `minus expectation` subtracts what a calibrated model is expected to show in the same bins; `squares` is
the root of squared gaps minus their variances; `shrunk gaps` is what is reported."""
