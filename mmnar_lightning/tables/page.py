"""Writes a table as a page of the documentation: how it is made, what it cost, the figure and the numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmnar_lightning.tables.plan import Plan
from mmnar_lightning.tables.score import Line
from mmnar_lightning.tables.stored import Cost, Found, Tested, left_out_of
from mmnar_lightning.tables.written import CSV, to_csv, to_markdown

MARKER = "<!-- written by mmnar table; what stands above is not -->"


def write(plan: Plan, found: Found, lines: Sequence[Line], path: Path) -> Path:
    """Write the page, and its CSV file in a folder of the page's name; text above a marker is kept.

    Args:
        plan: of the table.
        found: the test rows of its methods.
        lines: of the table.
        path: of the page.

    Returns:
        The path of the figure without suffix, which the page shows as a PNG.
    """
    name = plan.table.name
    above = path.read_text(encoding="utf-8").partition(MARKER)[0] if path.is_file() else "# Table of methods\n\n"
    beside = path.parent / path.stem / f"{name}.csv"
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(to_csv(lines), encoding="utf-8")
    figure = path.parent / "figures" / f"table_{name}"
    text = to_markdown(lines, plan.table.family, left_out_of(plan))
    parts = [
        f"Made by `make table TABLE={name}`; `mmnar table table.name={name} table.source=predictions` makes it again "
        f"without training. {_cost_of(plan, found)}",
        f"![AUROC by method and missingness pattern](figures/{figure.name}.png)",
        text.replace(f"`{CSV}`", f"[{beside.name}]({path.stem}/{beside.name})"),
    ]
    path.write_text(f"{above}{MARKER}\n\n" + "\n\n".join(parts), encoding="utf-8")
    return figure


def _cost_of(plan: Plan, found: Mapping[tuple[str, str], Tested | str]) -> str:
    means = {name for name, own in plan.table.methods.items() if own.mean}  # they cost what their methods do
    trained = (own for (_, method), own in found.items() if isinstance(own, Tested) and method not in means)
    total = sum((own.cost for own in trained), Cost())
    runs, methods, cohorts, seeds = (
        _counted(number, noun)
        for number, noun in (
            (total.runs, "run"),
            (len(plan.methods), "method"),
            (len(plan.bases), "cohort"),
            (len(plan.table.seeds), "seed"),
        )
    )
    return (
        f"It consists of {runs} of {methods} on {cohorts} ({seeds}), which took {total.cpu / 60:.1f} "
        f"minutes of CPU time and {total.wall / 60:.1f} minutes one after another on the machine that ran them."
    )


def _counted(number: int, noun: str) -> str:
    """Return the number with its noun.

    >>> _counted(1, "cohort"), _counted(2, "seed")
    ('1 cohort', '2 seeds')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
