"""Reads what the entries of a table left: the test rows of every method, and what they cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from data_modules import stage
from data_modules.cohorts.build import MISSING
from mmnar_lightning.runs import done, folders, gather, parent
from mmnar_lightning.runs.plan import FOLDED
from mmnar_lightning.tables.declared import NO_NUMBERS, TableError
from mmnar_lightning.tables.plan import Entry, Plan
from mmnar_lightning.tables.work import CHOSEN, COST, CPU, REASON, WALL

MAX_LISTED = 5
"""Missing entries that a message names."""
KEPT = ("row_id", "subject_id", "pattern")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time of the runs of a method on a cohort, in seconds, and their number.

    Attributes:
        wall: of all runs, one after another.
        cpu: of all processes.
        runs: all trials of all entries.
    """

    wall: float = 0.0
    cpu: float = 0.0
    runs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(wall=self.wall + other.wall, cpu=self.cpu + other.cpu, runs=self.runs + other.runs)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The test rows of a method on a cohort.

    Attributes:
        rows: `seed`, `fold` (null for one test split), `row_id`, `subject_id`, `pattern` and, for each task, `label/`
            and `logit/`, the final prediction.
        folded: whether each fold was tested by another model.
        cost: of all runs.
    """

    rows: pl.DataFrame
    folded: bool
    cost: Cost = field(default_factory=Cost)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return [name.removeprefix(gather.LABEL) for name in self.rows.columns if name.startswith(gather.LABEL)]


Found = dict[tuple[str, str], Tested | str]
"""Cohort, method -> its test rows, or why it is not applicable."""


def read(plan: Plan) -> Found:
    """Read the test rows of every method of a table on every cohort.

    Args:
        plan: of the table.

    Returns:
        What is there, in the order of the file.

    Raises:
        TableError: naming the entries without stored predictions.
    """
    if missing := [entry for entry in plan.entries if not is_stored(entry)]:
        named = "; ".join(entry.label for entry in missing[:MAX_LISTED])
        more = f" and {len(missing) - MAX_LISTED} more" if len(missing) > MAX_LISTED else ""
        raise TableError(
            f"{len(missing)} of {len(plan.entries)} entries have no stored predictions ({named}{more}); "
            f"`mmnar table table.name={plan.table.name}` with the same settings runs them"
        )
    found: Found = {}
    means = {name: own.mean for name, own in plan.table.methods.items() if own.mean}
    for cohort in plan.table.cohorts:
        for method in plan.methods:
            if method in means:
                continue
            entries = [entry for entry in plan.entries if (entry.cohort, entry.method) == (cohort, method)]
            reason = plan.refused.get((cohort, method), "")
            found[cohort, method] = reason or _of_method(entries)
        for method, members in means.items():
            found[cohort, method] = _mean({name: found[cohort, name] for name in members})
    return found


def modalities_of(plan: Plan) -> dict[str, list[str]]:
    """The modalities of each cohort that a method was tested on.

    Args:
        plan: of the table, whose runs are stored.

    Returns:
        Cohort -> names, in the order of a pattern's characters.
    """
    found: dict[str, list[str]] = {}
    for entry, results in _results(plan):
        found.setdefault(entry.cohort, results["modalities"])
    return found


def left_out_of(plan: Plan) -> dict[str, list[str]]:
    """What each cohort lacks because its release has no table for it.

    Args:
        plan: of the table, whose runs are stored.

    Returns:
        Cohort -> sentences, in alphabetical order.
    """
    found: dict[str, set[str]] = {}
    for entry, results in _results(plan):
        found.setdefault(entry.cohort, set()).update(lacking(results))
    return {cohort: sorted(lines) for cohort, lines in found.items()}


def lacking(results: Mapping[str, Any]) -> list[str]:
    """What a run's cohort lacks because its release has no table for it.

    Args:
        results: of the run.

    Returns:
        Sentences.
    """
    return [line for line in results["dropped"] if line.endswith(MISSING)]


def _results(plan: Plan) -> Iterator[tuple[Entry, dict[str, Any]]]:
    """The results of every entry whose method was tested."""
    for entry in plan.entries:
        outcome = stage.read_json(entry.outcome)
        if CHOSEN in outcome:
            yield entry, stage.read_json(entry.folder / outcome[CHOSEN] / folders.RESULTS)


def is_stored(entry: Entry) -> bool:
    """Whether an entry has an outcome and, unless its method is not applicable, the predictions of its choice."""
    if not entry.outcome.is_file():
        return False
    outcome = stage.read_json(entry.outcome)
    return REASON in outcome or (entry.folder / outcome[CHOSEN] / folders.PREDICTIONS).is_file()


def _of_method(entries: Sequence[Entry]) -> Tested | str:
    outcomes = [stage.read_json(entry.outcome) for entry in entries]
    if reasons := [outcome[REASON] for outcome in outcomes if REASON in outcome]:
        return str(reasons[0])
    frames = []
    for entry, outcome in zip(entries, outcomes, strict=True):
        run = entry.folder / outcome[CHOSEN]
        done.verify(run)
        frames.append(final(parent.tested(run, entry.protocol, entry.child)))
    pooled = gather.pool([entry.child for entry in entries], frames)
    gather.require_once(pooled)
    costs = [_cost_of(entry) for entry in entries]
    return Tested(rows=pooled, folded=entries[0].protocol in FOLDED, cost=sum(costs, Cost()))


def _mean(members: Mapping[str, Tested | str]) -> Tested | str:
    """The mean logit of methods, each clipped, on the rows that all predict; or which one is not applicable."""
    tested: list[Tested] = []
    for name, own in members.items():
        if isinstance(own, str):
            return f"{name} is not: {own}"
        tested.append(own)
    keys, tasks = ["seed", "fold", "row_id"], tested[0].tasks
    rows = tested[0].rows
    for place, own in enumerate(tested[1:]):
        added = own.rows.select(*keys, *(pl.col(gather.LOGIT + task).alias(f"{place}/{task}") for task in tasks))
        rows = rows.join(added, on=keys, nulls_equal=True, validate="1:1", maintain_order="left")
    means = {}
    for task in tasks:
        names = [gather.LOGIT + task, *(f"{place}/{task}" for place in range(len(tested) - 1))]
        clipped = [pl.col(name).clip(-gather.MAX_LOGIT, gather.MAX_LOGIT) for name in names]
        means[gather.LOGIT + task] = sum(clipped[1:], start=clipped[0]) / len(tested)
    rows = rows.with_columns(**means).select(tested[0].rows.columns)
    return replace(tested[0], rows=rows, cost=sum((own.cost for own in tested), Cost()))


def final(predicted: pl.DataFrame) -> pl.DataFrame:
    """Labels and final predictions: after the rectifier, where there is one.

    Args:
        predicted: predictions.parquet.

    Returns:
        `row_id`, `subject_id`, `pattern` and, for each task, `label/` and `logit/`.

    Raises:
        TableError: if the tasks are numbers.
    """
    tasks = [name.removeprefix(gather.LABEL) for name in predicted.columns if name.startswith(gather.LABEL)]
    if not tasks:
        raise TableError(f"the tasks of this cohort are numbers, {NO_NUMBERS}")
    columns = []
    for task in tasks:
        rectified = gather.RECTIFIED + task
        final = rectified if rectified in predicted.columns else gather.LOGIT + task
        columns += [pl.col(gather.LABEL + task), pl.col(final).alias(gather.LOGIT + task)]
    return predicted.select(*KEPT, *columns)


def _cost_of(entry: Entry) -> Cost:
    total = Cost()
    for run in entry.runs:
        if (run / COST).is_file():
            spent = stage.read_json(run / COST)
            total += Cost(wall=spent[WALL], cpu=spent[CPU], runs=1)
    return total
