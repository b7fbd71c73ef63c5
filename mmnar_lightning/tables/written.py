"""Writes the lines of a table as CSV, Markdown and LaTeX."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.metrics.suppression import ALL
from mmnar_lightning.report.formats import score_text
from mmnar_lightning.tables.declared import Family
from mmnar_lightning.tables.intervals import without_interval
from mmnar_lightning.tables.score import DIFFERENCE, METRICS, Line

CSV = "table.csv"
HEADER = (
    "method", "AUROC", "SD folds, seeds", "average precision", "Brier", "calibration slope", "AUROC minus reference",
    "DeLong p", "corrected p", "the method is", "CPU s",
)  # fmt: skip
ENDS = ("", "_low", "_high", "_sd_folds", "_sd_seeds")
"""Of the columns of a number in the CSV file."""
MASKED, NOTHING = "masked", ""
TOGETHER = {
    "table": "all comparisons of the table",
    "cohort": "all comparisons on a cohort",
    "task": "all comparisons on a task of a cohort",
}
"""Value of `family.together` -> the tests that are corrected together."""
_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}"}


def to_csv(lines: Sequence[Line]) -> str:
    """Every line with every number: those by pattern, and the methods that are not applicable, included.

    Args:
        lines: of a table.

    Returns:
        The text of a CSV file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    own = [f"{metric}{end}" for metric in METRICS for end in ENDS]
    own += [f"{DIFFERENCE}{end}" for end in ENDS]
    tested = ["p", "corrected_p", "verdict"]
    costs = ["wall_seconds", "cpu_seconds", "runs", "not_applicable"]
    writer.writerow(["cohort", "task", "method", "pattern", "rows", "positives", *own, *tested, *costs])
    for line in lines:
        values: list[object] = [line.cohort, line.task, line.method, line.pattern, line.rows, line.positives]
        for name in (*METRICS, DIFFERENCE):
            score = line.difference if name == DIFFERENCE else line.scores.get(name)
            values += [*_ends(score), *map(_digits, line.spread.get(name, (None, None)))]
        values += [_digits(line.p), _digits(line.corrected), line.verdict]
        has_cost = line.pattern == ALL and not line.reason and line.cost.runs > 0
        values += [round(line.cost.wall, 1), round(line.cost.cpu, 1), line.cost.runs] if has_cost else ["", "", ""]
        writer.writerow(["" if value is None else value for value in [*values, line.reason]])
    return text.getvalue()


def _ends(score: Score | None) -> list[str]:
    ends = (None, None, None) if score is None else (score.value, score.low, score.high)
    return [_digits(end) for end in ends]


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def to_markdown(lines: Sequence[Line], family: Family, left_out: Mapping[str, Sequence[str]]) -> str:
    """One table for each cohort and task, then what was not applicable and what each method has cost.

    Args:
        lines: of a table.
        family: of its tests.
        left_out: cohort -> sentences about what it lacks.

    Returns:
        The text.
    """
    parts = [explanation(lines, family)]
    header = header_of(lines)
    for cohort, task, own in sections(lines):
        lacking = "".join(f" {sentence}." for sentence in left_out.get(cohort, ()))
        parts.append(f"## {cohort}: {task}\n\n{_counted(own)}{lacking}")
        if not _is_masked(own):
            parts.append(_table(header, [cells(line)[: len(header)] for line in own]))
    not_applicable = [[line.cohort, line.method, line.reason] for line in lines if line.reason]
    if not_applicable:
        parts.append("## Not applicable\n\n" + _table(("cohort", "method", "reason"), not_applicable))
    return "\n\n".join(parts) + "\n"


def header_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """The columns that a table shows: those of `HEADER`, without the cost where no line has one.

    Args:
        lines: of the table.

    Returns:
        Their names.
    """
    return HEADER if _has_cost(lines) else HEADER[:-1]


def _has_cost(lines: Sequence[Line]) -> bool:
    return any(line.cost.runs for line in lines)


def explanation(lines: Sequence[Line], family: Family) -> str:
    """What the numbers of a table mean.

    Args:
        lines: of the table.
        family: of its tests.

    Returns:
        Sentences.
    """
    num_tests = sum(line.corrected is not None for line in lines)
    tests = "1 test is" if num_tests == 1 else f"{num_tests} tests are"
    return (
        "Metrics are means over folds and seeds with 95 % intervals over test subjects; the standard deviations over "
        "folds and over seeds are those of the AUROC, and no interval includes them. The difference is that of the "
        f"method minus `{family.reference}`, on the same rows, with DeLong's test. {tests} corrected by "
        f"Holm's method, {TOGETHER[family.together]} together; better, level or worse is what the corrected test says "
        f"at 0.05. Cells with few rows, positives or negatives are masked. {without_interval(lines)} "
        f"{_rest(_has_cost(lines))}"
    )


def _rest(has_cost: bool) -> str:
    """Where the numbers are that the tables leave out."""
    cost = "CPU seconds are those of all runs of a method on a cohort, all tasks together. Wall seconds, d"
    others = "eviations of the other metrics and of the difference, and missingness patterns with theirs, are in"
    return f"{cost if has_cost else 'D'}{others} `{CSV}`."


def sections(lines: Sequence[Line]) -> Iterator[tuple[str, str, list[Line]]]:
    """Cohort, task and the lines over all rows, in their order."""
    grouped: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.pattern == ALL and not line.reason:
            grouped.setdefault((line.cohort, line.task), []).append(line)
    for (cohort, task), own in grouped.items():
        yield cohort, task, own


def cells(line: Line) -> list[str]:
    """The texts of a line over all rows, in the order of `HEADER`."""
    cost = f"{line.cost.cpu:.0f}"
    if line.rows is None:
        return [line.method, MASKED, *[NOTHING] * (len(HEADER) - 3), cost]
    auroc, *others = (line.scores.get(metric) for metric in METRICS)
    spread = line.spread.get("auroc", (None, None))
    deviations = ", ".join("none" if value is None else f"{value:.3f}" for value in spread)
    compared = [NOTHING] * 4
    if line.p is not None:
        compared = [score_text(line.difference, "+.3f"), f"{line.p:.2g}", f"{line.corrected:.2g}", line.verdict]
    texts = [score_text(score, ".3f") for score in (auroc, *others)]
    return [line.method, texts[0], deviations, *texts[1:], *compared, cost]


def _is_masked(own: Sequence[Line]) -> bool:
    """Whether a section shows nothing of any method."""
    return all(line.rows is None for line in own)


def _counted(own: Sequence[Line]) -> str:
    """Rows and positives of a section; of a method with fewer rows, its own."""
    if _is_masked(own):
        return "Too few rows of a class: masked."
    shown = [line for line in own if line.rows is not None]
    first = max(shown, key=lambda line: line.rows or 0)
    text = f"{first.rows} test rows, {first.positives} positive"
    fewer = [f"{line.method} predicts {line.rows} ({line.positives})" for line in shown if line.rows != first.rows]
    return "; ".join([text, *fewer]) + "."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in rows)])


def to_latex(lines: Sequence[Line], family: Family) -> str:
    """One `tabular` in a `table` for each cohort and task; it needs the package booktabs.

    Args:
        lines: of a table.
        family: of its tests.

    Returns:
        The text.
    """
    parts, header = [f"% {explanation(lines, family)}"], header_of(lines)
    for cohort, task, own in sections(lines):
        if _is_masked(own):
            parts.append(f"% {cohort}: {task}. {_counted(own)}")
            continue
        rows = [" & ".join(map(_tex, cells(line)[: len(header)])) + r" \\" for line in own]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{_tex(cohort)}: {_tex(task)}. {_tex(_counted(own))}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
                    r"\toprule",
                    " & ".join(map(_tex, header)) + r" \\",
                    r"\midrule",
                    *rows,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    parts += [f"% not applicable: {line.cohort}, {line.method}" for line in lines if line.reason]
    return "\n\n".join(parts) + "\n"


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
