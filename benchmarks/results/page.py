"""Write docs/results.md, its tables as CSV and its figure, from the runs that are there."""

import argparse
import itertools
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from benchmarks.results import ceiling, plan, score
from benchmarks.results.run import CHOSEN
from mmnar_lightning.report import style

DOCS = Path("docs")
COMPARED = ("full", *plan.BASELINES)
NUM_REPLICATES = 1000
NAMES = {"full": "full method", "oracle": "oracle"}


@dataclass(frozen=True)
class Tables:
    """What is written.

    Attributes:
        reported: scores of the model, its baselines and the oracle.
        apart: differences between them.
        ablations: scores of the ablations, and of the full method and the oracle on the same releases.
        without: the full method minus each ablation.
        tipping: shifts of one pattern at which the best baseline is as good as the full method.
    """

    reported: pl.DataFrame
    apart: pl.DataFrame
    ablations: pl.DataFrame
    without: pl.DataFrame
    tipping: pl.DataFrame


def tables(out: Path, processes: int) -> Tables:
    """Score what is there, some settings at a time."""
    rows: dict[str, list[dict[str, object]]] = {field.name: [] for field in fields(Tables)}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for found in pool.map(_of_setting, itertools.repeat(out), plan.SETTINGS):
            for name, entries in found.items():
                rows[name].extend(entries)
    return Tables(**{name: pl.DataFrame(found) for name, found in rows.items()})


def _of_setting(out: Path, name: str) -> dict[str, list[dict[str, object]]]:
    """The rows of every table, of one setting."""
    rows: dict[str, list[dict[str, object]]] = {}
    setting = score.gather(out, name, COMPARED)
    if setting is not None:
        pairs = [("full", baseline) for baseline in plan.BASELINES] + [("oracle", "full")]
        rows["reported"] = list(score.scores(setting, num_replicates=NUM_REPLICATES, by_pattern=True))
        rows["apart"] = list(score.differences(setting, pairs, num_replicates=NUM_REPLICATES))
        (best,) = closed(pl.DataFrame(rows["reported"]))["best_baseline"]
        rows["tipping"] = list(score.tipping_points(setting, "full", best))
    setting = score.gather(out, name, ("full", *plan.ABLATIONS))
    if setting is not None:
        without = [("full", ablation) for ablation in plan.ABLATIONS]
        rows["ablations"] = list(score.scores(setting, num_replicates=NUM_REPLICATES, by_pattern=True))
        rows["without"] = list(score.differences(setting, without, num_replicates=NUM_REPLICATES))
    return rows


def closed(reported: pl.DataFrame) -> pl.DataFrame:
    """By setting: mean AUROC over tasks of the full method, the best baseline and the oracle, and the gap closed."""
    mean = reported.filter(pl.col("task") == score.MEAN, pl.col("pattern") == "all", pl.col("metric") == "auroc").pivot(
        on="method", index=["setting", "releases", "rows"], values="value"
    )
    baselines = pl.max_horizontal(*plan.BASELINES)
    names = pl.concat_list(plan.BASELINES).list.arg_max().replace_strict(range(len(plan.BASELINES)), plan.BASELINES)
    return mean.with_columns(
        best_baseline=names, gap_closed=(pl.col("full") - baselines) / (pl.col("oracle") - baselines), best=baselines
    )


@style.styled
def figure(apart: pl.DataFrame, path: Path) -> None:
    """AUROC of the full method minus that of each baseline, by setting and task."""
    found = apart.filter(pl.col("metric") == "auroc", pl.col("method") == "full")
    drawn = style.new_figure(11, 3.6)
    axes = drawn.subplots(1, len(plan.BASELINES), sharey=True)
    labels = [
        f"{setting}, {style.words(task)}"
        for setting, task in found.select("setting", "task").unique(maintain_order=True).rows()
    ]
    for place, baseline in zip(axes, plan.BASELINES, strict=True):
        rows = found.filter(pl.col("minus") == baseline)
        for position, (value, low, high) in enumerate(rows.select("value", "low", "high").rows()):
            place.plot([low, high], [position, position], color=style.MAIN)
            place.plot(value, position, "o", color=style.MAIN, markersize=3)
        place.axvline(0, color=style.GREY, linewidth=1)
        place.set_title(f"minus {baseline}", fontsize=9)
        place.set_yticks(range(len(labels)), labels, fontsize=6)
    axes[0].invert_yaxis()
    drawn.suptitle("AUROC of the full method minus a baseline's, 95 % intervals, simulated data", fontsize=10)
    style.save(drawn, path, style.ON_PAGE, style.PAGE_DPI)


def write(out: Path, docs: Path, processes: int) -> None:
    """Score what is there and write it down."""
    found = tables(out, processes)
    folder = docs / "results"
    folder.mkdir(parents=True, exist_ok=True)
    scored = found.reported
    if len(found.ablations):
        scored = pl.concat([scored, found.ablations.filter(pl.col("method").is_in(plan.ABLATIONS))])
    for name in scored["setting"].unique(maintain_order=True):
        scored.filter(pl.col("setting") == name).drop("minus").write_csv(
            folder / f"{name.replace(' ', '_')}.csv", float_precision=4
        )
    pl.concat([found.apart, found.without] if len(found.without) else [found.apart]).write_csv(
        folder / "differences.csv", float_precision=4
    )
    found.tipping.write_csv(folder / "tipping_points.csv", float_precision=4)
    figure(found.apart, docs / "figures" / "results.png")
    chosen = json.loads((out / CHOSEN).read_text())
    (folder / CHOSEN).write_text(json.dumps(chosen, indent=1) + "\n")
    parts = [_summary(closed(found.reported)), _aims(found.apart), _main(found.reported)]
    parts.append(_pairs(found.apart, "The full method and its baselines"))
    if len(found.ablations):
        parts.append(_ablations(found.ablations))
        parts.append(_pairs(found.without, "Ablations: what the full method gains over itself without a part"))
    parts += [_tipping(found.tipping), _ceiling(out), _tuning(chosen)]
    marker = "<!-- written by make results; what stands above is not -->"
    page = docs / "results.md"
    above = page.read_text(encoding="utf-8").split(marker)[0] if page.is_file() else "# Results\n\n"
    page.write_text(above + marker + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _aims(apart: pl.DataFrame) -> str:
    """The mean over tasks, in which the aims are stated."""
    rows = []
    mean = apart.filter(pl.col("task") == score.MEAN, pl.col("metric") == "auroc", pl.col("method") == "full")
    for (setting,), cells in mean.group_by("setting", maintain_order=True):
        by_baseline = {row["minus"]: row for row in cells.iter_rows(named=True)}
        rows.append([str(setting), *(_interval(by_baseline[baseline], "+.4f") for baseline in plan.BASELINES)])
    header = ["setting", *(f"full minus {baseline}" for baseline in plan.BASELINES)]
    return "Differences of that mean, with 95 % intervals:\n\n" + _table(header, rows)


def _ablations(ablations: pl.DataFrame) -> str:
    """Mean over tasks of every metric, by setting; tasks and patterns are in the CSV files."""
    rows = []
    mean = ablations.filter(pl.col("task") == score.MEAN, pl.col("pattern") == "all")
    for (setting, metric), cells in mean.group_by("setting", "metric", maintain_order=True):
        by_method = {row["method"]: row for row in cells.iter_rows(named=True)}
        shown = [_interval(by_method[name]) for name in ("full", *plan.ABLATIONS)]
        rows.append([f"{setting} ({cells['releases'][0]})", str(metric).replace("_", " "), *shown])
    header = ["setting (releases)", "metric, mean over tasks", "full method", *plan.ABLATIONS]
    return f"## Ablations\n\n{_table(header, rows)}"


def _tipping(found: pl.DataFrame) -> str:
    """The least shift of any pattern for each setting and task."""
    rows = []
    for (setting, task), cells in found.group_by("setting", "task", maintain_order=True):
        flipped = cells.drop_nulls("shift").sort(pl.col("shift").abs())
        least = flipped.row(0, named=True) if len(flipped) else None
        reported = f"{least['shift']:+.2f} on {least['pattern']} ({least['rows']} rows)" if least else "none up to 5"
        rows.append([str(setting), str(task), cells["other"][0], reported])
    text = (
        "The smallest shift of the full method's logits on one missingness pattern at which its AUROC, over the "
        "rows of all releases, is that of the best baseline; every pattern is in `docs/results/tipping_points.csv`."
    )
    return f"## Tipping points\n\n{text}\n\n{_table(['setting', 'task', 'best baseline', 'shift'], rows)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _summary(found: pl.DataFrame) -> str:
    rows = [
        [
            row["setting"], str(row["releases"]), str(row["rows"]), f"{row['full']:.4f}",
            f"{row['best']:.4f} ({row['best_baseline']})", f"{row['oracle']:.4f}", f"{row['gap_closed']:.0%}",
        ]
        for row in found.iter_rows(named=True)
    ]  # fmt: skip
    header = ["setting", "releases", "test rows", "full method", "best baseline", "oracle", "gap closed"]
    return "## Mean AUROC over the tasks\n\n" + _table(header, rows)


def _main(reported: pl.DataFrame) -> str:
    parts = [
        "## By setting and task\n\nEach with its 95 % interval; every pattern is in the CSV files of `docs/results/`."
    ]
    whole = reported.filter(pl.col("pattern") == "all")
    methods = whole["method"].unique(maintain_order=True).to_list()
    for metric in ("auroc", "average_precision", "brier", "calibration_error"):
        rows = []
        for (setting, task), cells in whole.filter(pl.col("metric") == metric).group_by(
            "setting", "task", maintain_order=True
        ):
            by_method = {row["method"]: row for row in cells.iter_rows(named=True)}
            first = by_method[methods[0]]
            shown = [_interval(by_method[name]) for name in methods]
            counted = f"{first['rows']} rows" if task == score.MEAN else f"{first['positives']} of {first['rows']}"
            rows.append([setting, f"{task} ({counted})", *shown])
        header = ["setting", "task (positives of rows)", *(NAMES.get(name, name) for name in methods)]
        parts.append(f"### {metric.replace('_', ' ')}\n\n{_table(header, rows)}")
    return "\n\n".join(parts)


def _pairs(found: pl.DataFrame, title: str) -> str:
    rows = []
    chosen = found.filter(pl.col("metric") == "auroc")
    pairs = chosen.select("method", "minus").unique(maintain_order=True).rows()
    for (setting, task), cells in chosen.group_by("setting", "task", maintain_order=True):
        by_pair = {(row["method"], row["minus"]): row for row in cells.iter_rows(named=True)}
        rows.append([setting, task, str(cells["releases"][0]), *(_interval(by_pair[pair], "+.4f") for pair in pairs)])
    header = ["setting", "task", "releases", *(f"{first} minus {second}" for first, second in pairs)]
    text = "Differences of AUROC on the same rows and bootstrap draws, subjects drawn within their release."
    return f"## {title}\n\n{text}\n\n{_table(header, rows)}"


def _ceiling(out: Path) -> str:
    """What regressions reach that know the simulator."""
    found = pl.read_csv(out / ceiling.FILE)
    readers = [name for name in found.columns if name != "release"]
    first, oracle = found[readers[1]].mean(), found["oracle"].mean()
    assert isinstance(first, float)
    assert isinstance(oracle, float)
    rows = [[str(row["release"]), *(f"{row[name]:.4f}" for name in readers)] for row in found.iter_rows(named=True)]
    closed_by = [(found[name].mean() - first) / (oracle - first) for name in readers]  # type: ignore[operator]
    rows.append(["share of the gap that is closed", *(f"{share:.0%}" for share in closed_by)])
    text = (
        "Mean AUROC over the tasks at rho 1, on the calibration and test rows, of logistic regressions on train rows. "
        f"Their inputs are: {ceiling.COMPONENTS} principal components of each modality, as the full "
        "method (the baseline of that name took twice as many), and the pattern; the simulator's eight readings, as a "
        "ridge regression on the truth predicts them from the same vectors, and their products with "
        "presence; the true readings likewise. Only with a simulator could the last two be trained."
    )
    return f"## How much could be closed at all\n\n{text}\n\n{_table(['release', *readers], rows)}"


def _tuning(chosen: dict[str, dict[str, list[object]]]) -> str:
    rows = [
        [
            name,
            ", ".join(f"{value:.4f}" for value in chosen["validation_auroc"][name]),
            " ".join(map(str, words)) or "defaults",
        ]
        for name, words in chosen["chosen"].items()
    ]
    setting, seed = plan.TUNING
    text = (
        f"On the val split of one release ({setting}, seed {seed}) that is not scored; ablations take what the full "
        "method chose."
    )
    return f"## Tuning\n\n{text}\n\n" + _table(["method", "mean validation AUROC of its trials", "chosen"], rows)


def _interval(row: dict[str, float], form: str = ".3f") -> str:
    return f"{row['value']:{form}} ({row['low']:{form}} to {row['high']:{form}})"


def main() -> None:
    """Write the page of a folder of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/results"))
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    write(given.out.absolute(), given.docs, given.processes)


if __name__ == "__main__":
    main()
