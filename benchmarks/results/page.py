"""Write docs/results.md, its tables as CSV and its figure, from the runs that are there."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.results import plan, score
from benchmarks.results.run import CHOSEN
from mmnar_lightning.report import figures

DOCS = Path("docs")
COMPARED = ("full", *plan.RIVALS)
NUM_REPLICATES = 1000
NAMES = {"full": "full method", "oracle": "oracle"}


def tables(out: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Scores and differences of the model and its rivals, and differences of the ablations from the full method."""
    told: list[dict[str, object]] = []
    apart: list[dict[str, object]] = []
    ablated: list[dict[str, object]] = []
    pairs = [("full", name) for name in plan.RIVALS] + [("oracle", "full")]
    for name in plan.SETTINGS:
        setting = score.gather(out, name, COMPARED)
        if setting is not None:
            told.extend(score.scores(setting, num_replicates=NUM_REPLICATES, by_pattern=True))
            apart.extend(score.differences(setting, pairs, num_replicates=NUM_REPLICATES))
        setting = score.gather(out, name, ("full", *plan.ABLATIONS))
        if setting is not None:
            without = [("full", ablation) for ablation in plan.ABLATIONS]
            ablated.extend(score.differences(setting, without, num_replicates=NUM_REPLICATES))
    return pl.DataFrame(told), pl.DataFrame(apart), pl.DataFrame(ablated)


def closed(told: pl.DataFrame) -> pl.DataFrame:
    """By setting: mean AUROC over tasks of the full method, the best rival and the oracle, and the gap closed."""
    mean = (
        told.filter(pl.col("pattern") == "all", pl.col("metric") == "auroc")
        .group_by("setting", "method", maintain_order=True)
        .agg(pl.col("value").mean(), pl.col("releases").first(), pl.col("rows").first())
        .pivot(on="method", index=["setting", "releases", "rows"], values="value")
    )
    rivals = pl.max_horizontal(*plan.RIVALS)
    names = pl.concat_list(plan.RIVALS).list.arg_max().replace_strict(range(len(plan.RIVALS)), plan.RIVALS)
    return mean.with_columns(
        best_rival=names, gap_closed=(pl.col("full") - rivals) / (pl.col("oracle") - rivals), best=rivals
    )


def figure(apart: pl.DataFrame, path: Path) -> None:
    """AUROC of the full method minus that of each rival, by setting and task."""
    found = apart.filter(pl.col("metric") == "auroc", pl.col("method") == "full")
    drawn = figures.new_figure(11, 3.6)
    axes = drawn.subplots(1, len(plan.RIVALS), sharey=True)
    labels = [
        f"{setting}, {task}" for setting, task in found.select("setting", "task").unique(maintain_order=True).rows()
    ]
    for place, rival in zip(axes, plan.RIVALS, strict=True):
        rows = found.filter(pl.col("minus") == rival)
        for position, (value, low, high) in enumerate(rows.select("value", "low", "high").rows()):
            place.plot([low, high], [position, position], color="tab:blue")
            place.plot(value, position, "o", color="tab:blue", markersize=3)
        place.axvline(0, color="0.7", linewidth=1)
        place.set_title(f"minus {rival}", fontsize=9)
        place.set_yticks(range(len(labels)), labels, fontsize=6)
    axes[0].invert_yaxis()
    drawn.suptitle("AUROC of the full method minus a rival's, 95 % intervals, simulated data", fontsize=10)
    figures.save(drawn, path)


def write(out: Path, docs: Path) -> None:
    """Score what is there and write it down."""
    told, apart, ablated = tables(out)
    folder = docs / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for name in told["setting"].unique(maintain_order=True):
        told.filter(pl.col("setting") == name).drop("minus").write_csv(
            folder / f"{name.replace(' ', '_')}.csv", float_precision=4
        )
    pl.concat([apart, ablated] if len(ablated) else [apart]).write_csv(folder / "differences.csv", float_precision=4)
    figure(apart, docs / "figures" / "results.png")
    chosen = json.loads((out / CHOSEN).read_text())
    parts = [_summary(closed(told)), _main(told), _pairs(apart, "The full method and its rivals")]
    if len(ablated):
        parts.append(_pairs(ablated, "Ablations: what the full method gains over itself without a part"))
    parts.append(_tuning(chosen))
    marker = "<!-- written by make results; what stands above is not -->"
    page = docs / "results.md"
    above = page.read_text(encoding="utf-8").split(marker)[0] if page.is_file() else "# Results\n\n"
    page.write_text(above + marker + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _summary(found: pl.DataFrame) -> str:
    rows = [
        [
            row["setting"], str(row["releases"]), str(row["rows"]), f"{row['full']:.4f}",
            f"{row['best']:.4f} ({row['best_rival']})", f"{row['oracle']:.4f}", f"{row['gap_closed']:.0%}",
        ]
        for row in found.iter_rows(named=True)
    ]  # fmt: skip
    header = ["setting", "releases", "test rows", "full method", "best rival", "oracle", "gap closed"]
    return "## Mean AUROC over the tasks\n\n" + _table(header, rows)


def _main(told: pl.DataFrame) -> str:
    parts = [
        "## By setting and task\n\nEach with its 95 % interval; every pattern is in the CSV files of `docs/results/`."
    ]
    whole = told.filter(pl.col("pattern") == "all")
    methods = whole["method"].unique(maintain_order=True).to_list()
    for metric in ("auroc", "average_precision", "brier", "calibration_error"):
        rows = []
        for (setting, task), cells in whole.filter(pl.col("metric") == metric).group_by(
            "setting", "task", maintain_order=True
        ):
            by_method = {row["method"]: row for row in cells.iter_rows(named=True)}
            first = by_method[methods[0]]
            shown = [_interval(by_method[name]) for name in methods]
            rows.append([setting, f"{task} ({first['positives']} of {first['rows']})", *shown])
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
    given = parser.parse_args()
    write(given.out.absolute(), given.docs)


if __name__ == "__main__":
    main()
