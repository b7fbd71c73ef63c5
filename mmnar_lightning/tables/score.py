"""Scores the methods of a table: each by itself, and against the reference, corrected for the number of tests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from data_modules import patterns
from mmnar_lightning.evaluation.comparison import KEYS, Comparison, Verdict, corrected, paired, rows_of
from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.evaluation.scores import Scoring, score
from mmnar_lightning.metrics.suppression import ADDED_UP, ALL, Counts, hidden_cells, is_small, with_sum, withheld_tasks
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.runs import gather
from mmnar_lightning.runs.run import scoring_of
from mmnar_lightning.tables.declared import Family, TableError
from mmnar_lightning.tables.plan import Plan
from mmnar_lightning.tables.spread import Spread, difference_spread, spreads
from mmnar_lightning.tables.stored import Cost, Found, Tested

METRICS = ("auroc", "average_precision", "brier", "calibration_slope")
"""Of a table, in the order of its columns."""
DIFFERENCE = "difference"
"""Of the AUROC to that of the reference, among the spreads."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A method on one task of a cohort, over all test rows or those of a pattern; public: small cells are hidden.

    Attributes:
        cohort: name.
        task: name; empty if the method is not applicable.
        method: name.
        pattern: label of a missingness pattern, or `all`.
        rows: with a known label; None if hidden, then so are the scores and the test.
        positives: of them.
        scores: metric -> its value and interval.
        spread: metric, or `DIFFERENCE` -> over folds and seeds.
        difference: AUROC of the method minus that of the reference, on the rows of the method.
        p: of DeLong's test.
        corrected: after Holm's correction over the family.
        verdict: on the method, as the corrected test says.
        cost: of the method's runs on the cohort, all tasks together.
        reason: why the method is not applicable.
    """

    cohort: str
    task: str
    method: str
    pattern: str = ALL
    rows: int | None = None
    positives: int | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    spread: dict[str, Spread] = field(default_factory=dict)
    difference: Score | None = None
    p: float | None = None
    corrected: float | None = None
    verdict: Verdict = "not tested"
    cost: Cost = field(default_factory=Cost)
    reason: str = ""


def lines(plan: Plan, found: Found) -> list[Line]:
    """All lines of a table, in the order of the file: cohort, task, method, pattern.

    A method that was tested on rows that the others do not have is a `TableError`.

    Args:
        plan: of the table.
        found: the test rows of its methods.

    Returns:
        The lines; those of methods that are not applicable come after the others of their cohort.
    """
    written: list[Line] = []
    for cohort, config in plan.bases.items():
        own = {method: found[cohort, method] for method in plan.methods}
        tested = {method: rows for method, rows in own.items() if isinstance(rows, Tested)}
        if tested:
            scoring = scoring_of(config)
            withheld = small_folds(tested, scoring.min_count)
            written += of_cohort(cohort, tested, plan.table.family.reference, scoring, withheld)
        written += [
            Line(cohort=cohort, task="", method=method, reason=rows)
            for method, rows in own.items()
            if isinstance(rows, str)
        ]
    return judged(written, plan.table.family)


def of_cohort(
    cohort: str,
    tested: Mapping[str, Tested],
    reference: str,
    scoring: Scoring,
    withheld: Collection[str] = (),
    *,
    totals_only: bool = False,
) -> list[Line]:
    """The lines of a cohort, not corrected yet.

    Args:
        cohort: name.
        tested: method -> its test rows.
        reference: the method that the others are compared with.
        scoring: replicates, seed and the smallest count that is shown.
        withheld: tasks that are hidden whole, whatever their counts.
        totals_only: whether patterns are hidden, because other runs test other parts of the same rows.

    Returns:
        By task, method and pattern.
    """
    full = _full(tested)
    cells = {task: _counts(_once(full.rows), task, "pattern") for task in full.tasks}
    tables = {task: with_sum(own) for task, own in cells.items()}
    hidden = hidden_cells(tables, scoring.min_count, totals_only=totals_only, withheld=withheld)
    written = []
    for task in full.tasks:
        rows = {name: rows_of(name, method.rows, task) for name, method in tested.items()}
        whole = rows_of("", full.rows, task)
        shown = [name for name in cells[task] if name not in hidden[task]][:MAX_PATTERNS]
        for name, method in tested.items():
            line = Line(cohort=cohort, task=task, method=name, cost=method.cost)
            is_whole = _is_whole(name, rows[name], whole)
            if ALL in hidden[task] or not (is_whole or _may_be_shown(rows[name], whole, scoring.min_count)):
                written.append(line)
                continue
            if name != reference and reference in rows:
                line = _compared(line, rows[name], rows[reference], scoring)
            written += _scored(line, method, task, shown if is_whole else [], scoring)
    return written


def small_folds(tested: Mapping[str, Tested], min_count: int) -> set[str]:
    """Tasks whose total would show a small one of a fold.

    Args:
        tested: method -> its test rows, on one cohort.
        min_count: smallest count that is shown.

    Returns:
        The tasks that are hidden whole.
    """
    full = _full(tested)
    folds = {task: _counts(_once(full.rows), task, "fold") for task in full.tasks} if full.folded else {}
    return withheld_tasks(folds, min_count)


def _full(tested: Mapping[str, Tested]) -> Tested:
    """The method that was tested on the most rows."""
    return max(tested.values(), key=lambda method: method.rows.height)


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one seed."""
    return rows.filter(pl.col("seed") == rows["seed"].min())


def _counts(once: pl.DataFrame, task: str, key: str) -> dict[str, Counts]:
    """Counts of the rows with a known label by a column, the most rows first."""
    label = gather.LABEL + task
    grouped = once.drop_nulls(label).group_by(key).agg(pl.len(), pl.col(label).cast(pl.Int64).sum().alias("positives"))
    ordered = grouped.sort(pl.col("len"), pl.col(key), descending=[True, False])
    return {str(name): Counts(rows, positives) for name, rows, positives in ordered.iter_rows()}


def _is_whole(name: str, own: pl.DataFrame, whole: pl.DataFrame) -> bool:
    """Whether a method was tested on all rows that any method was tested on; refuses others than these."""
    keys = [*KEYS, "subject_id", "label"]
    if own.join(whole, on=keys, how="anti").height:
        raise TableError(
            f"{name} was not tested on rows of the other methods with the same labels and folds; do all methods of the "
            "cohort have the same cohort.* settings?"
        )
    return own.height == whole.height


def _may_be_shown(own: pl.DataFrame, whole: pl.DataFrame, min_count: int) -> bool:
    """Whether neither the rows of a method that predicts some alone, nor the rest, are a small cell."""
    counts, total = (_count(rows) for rows in (own, whole))
    rest = Counts(total.rows - counts.rows, total.positives - counts.positives)
    return not is_small(counts, min_count) and not any(0 < getattr(rest, name) < min_count for name in ADDED_UP)


def _count(rows: pl.DataFrame) -> Counts:
    first = _once(rows)
    return Counts(first.height, float(first["label"].sum()))


def _compared(line: Line, own: pl.DataFrame, reference: pl.DataFrame, scoring: Scoring) -> Line:
    """The line with its difference to the reference, on the rows that the method predicts."""
    same = reference.join(own, on=list(KEYS), how="semi", maintain_order="left")
    if same.height < own.height:
        return line
    difference, p = paired(own, same, scoring)
    spread = {DIFFERENCE: difference_spread(own, same, scoring.min_count)}
    return replace(line, difference=difference, spread=spread, p=p)


def _scored(line: Line, method: Tested, task: str, shown: Sequence[str], scoring: Scoring) -> list[Line]:
    """The line of all rows with its scores, then one for each pattern that is shown."""
    rows = gather.as_rows(method.rows, [task], gather.LOGIT)
    fold = gather.tensor(method.rows["fold"]) if method.folded else None
    codes = [patterns.parse(label) for label in shown]
    found = score(rows, [task], codes, scoring, fold=fold, repeat=gather.tensor(method.rows["seed"]))[task]
    written = []
    for name, cell in found.cells.items():
        scores = {metric: own for metric in METRICS if (own := cell.score(metric)) is not None}
        own_line, tested = line, method.rows
        if name != ALL:
            own_line = Line(cohort=line.cohort, task=task, method=line.method, pattern=name)
            tested = tested.filter(pl.col("pattern") == name)
        spread = own_line.spread | spreads(rows_of(line.method, tested, task), METRICS, scoring.min_count)
        written.append(replace(own_line, rows=cell.count, positives=cell.positives, scores=scores, spread=spread))
    return written


def judged(written: Sequence[Line], family: Family) -> list[Line]:
    """The lines with corrected tests and verdicts, over all comparisons that the family declares.

    Args:
        written: lines.
        family: which are corrected together.

    Returns:
        The lines, in the same order.
    """
    found = list(written)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, line in enumerate(written):
        if line.p is not None:
            key = {"table": (), "cohort": (line.cohort,), "task": (line.cohort, line.task)}[family.together]
            groups.setdefault(key, []).append(place)
    for places in groups.values():
        for place, test in zip(places, corrected([_test(written[place]) for place in places]), strict=True):
            found[place] = replace(found[place], corrected=test.corrected, verdict=test.verdict)
    return found


def _test(line: Line) -> Comparison:
    return Comparison(task=line.task, method=line.method, difference=line.difference, p=line.p)
