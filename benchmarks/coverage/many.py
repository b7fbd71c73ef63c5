"""Coverage of analytic intervals beside the percentiles of the bootstrap with many rows: docs/coverage_many.csv."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.coverage.worlds import Sample, World, draw, truth
from mmnar_lightning.metrics.bootstrap import draw_each, samples_of
from mmnar_lightning.metrics.cells import LINEAR
from mmnar_lightning.metrics.influence import linear, logit_ends, normal_ends
from mmnar_lightning.metrics.parts import parts_of

FILE = Path(__file__).parents[2] / "docs" / "coverage_many.csv"
SAMPLES, REPLICATES, Z = 300, 400, 1.959964
TRUTH_ROWS = 4_000_000
"""The error of the truth of 100,000 rows is a tenth of that of a sample of this size."""
EDGES = (100, 200, 300)
"""Effective rows of the smaller class that separate the columns of the table."""


def worlds() -> list[World]:
    """Worlds with 100, 200 and 400 rows of the smaller class."""
    return [
        World(rows=int(small / prevalence), prevalence=prevalence, rows_per_subject=size, folds=folds)
        for prevalence in (0.02, 0.1, 0.3, 0.5)
        for small in (100, 200, 400)
        for size in (1, 2.5)
        for folds in (1, 5)
        if prevalence > 0.02 or small < 400
    ]


def measure(world: World) -> pl.DataFrame:
    """One line per figure and rule: `coverage`, `width`, and the mean number of effective rows, `few`."""
    key = [1, world.rows, int(world.rows_per_subject * 2), world.folds]
    generator, known, found, few = np.random.default_rng(key), truth(world.prevalence, TRUTH_ROWS), [], []
    for seed in range(SAMPLES):
        sample = draw(world, generator)
        few.append(parts_of(sample.first, sample.label, sample.subject, sample.fold).few())
        for figure, rule, low, high in _ends(sample, seed):
            name, _, model = figure.partition(", ")
            true = known[model or "first"][name]
            found.append((figure, rule, low <= true <= high, high - low))
    lines = pl.DataFrame(found, schema=["figure", "rule", "coverage", "width"], orient="row")
    settings = {name: pl.lit(value) for name, value in vars(world).items()}
    by = lines.group_by("figure", "rule", maintain_order=True).agg(pl.col("coverage", "width").mean())
    return by.with_columns(**settings, few=pl.lit(float(np.mean(few))))


def _ends(sample: Sample, seed: int) -> Iterator[tuple[str, str, float, float]]:
    """Figure, rule, lower and upper end."""
    rest = (sample.label, sample.subject, sample.fold, None)
    samples = [samples_of(probability, *rest) for probability in (sample.first, sample.second)]
    drawn = draw_each(samples, num_replicates=REPLICATES, seed=seed, calibrated=False)
    first, second = (linear(one) for one in samples)
    pair = first.minus(second)
    for column, name in enumerate(LINEAR):
        one, other = (prediction.replicates[:, column].numpy() for prediction in drawn)
        of_one = logit_ends if name == "auroc" else normal_ends
        yield (name, "bootstrap", *np.quantile(one, [0.025, 0.975]))
        yield (name, "analytic", *of_one(first.values[column], first.error[column], Z))
        yield (f"{name}, difference", "bootstrap", *np.quantile(one - other, [0.025, 0.975]))
        ends = normal_ends(pair.values[column], pair.error[column], Z, lowest=-1.0)
        yield (f"{name}, difference", "analytic", *ends)


def section(lines: pl.DataFrame) -> str:
    """The section of docs/coverage.md.

    Args:
        lines: of coverage_many.csv.

    Returns:
        Markdown: by figure and folds, the mean coverage of both rules over worlds, and the ratio of their widths.
    """
    names = [f"below {EDGES[0]}", *(f"{low} to {high - 1}" for low, high in pairwise(EDGES))]
    names.append(f"{EDGES[-1]} or more")
    ranges = pl.col("few").cut(list(EDGES), labels=names, left_closed=True).cast(pl.String)
    keys = ["figure", "folds", "rows", "prevalence", "rows_per_subject", "few"]
    wide = lines.pivot("rule", index=keys, values=["coverage", "width"]).with_columns(ranges.alias("range"))
    ratio = (pl.col("width_analytic") / pl.col("width_bootstrap")).mean().alias("ratio")
    means = wide.group_by("figure", "folds", "range").agg(pl.col("^coverage_.*$").mean(), ratio)
    shown = {
        (line["figure"], line["folds"], line["range"]): (
            f"{line['coverage_bootstrap']:.3f}, {line['coverage_analytic']:.3f}, {line['ratio']:.2f}"
        )
        for line in means.to_dicts()
    }
    header = f"| | folds | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}"
    rows = [
        f"| {figure.replace('_', ' ')} | {folds} | {' | '.join(shown[figure, folds, name] for name in names)} |"
        for figure in lines["figure"].unique(maintain_order=True)
        for folds in (1, 5)
    ]
    return "\n".join([f"## Many rows\n\n{INTRODUCTION}\n\n{header}", *rows])


INTRODUCTION = """`python -m benchmarks.coverage.many` measures both rules on the same samples
([coverage_many.csv](coverage_many.csv)): worlds with 100, 200 and 400 rows of the smaller class, prevalence 0.02 to
0.5, 300 samples each, truth from 4 million rows. Columns: effective rows of the smaller class. Each entry is the
coverage of the percentiles, that of the analytic interval, and the ratio of their mean widths, each a mean over worlds.
The Monte Carlo standard error of the coverage in one world is 0.013. The analytic interval is used from 200 effective
rows on; over folds average precision has none below 100 positives per fold."""


def main() -> None:
    """Measure and write the file, from which `make coverage` makes the section."""
    torch.set_num_threads(1)
    found = []
    for world in worlds():
        found.append(measure(world))
        print(world, flush=True)
    pl.concat(found).write_csv(FILE, float_precision=4)


if __name__ == "__main__":
    main()
