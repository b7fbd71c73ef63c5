"""What the run is, and on whom: the first section of the page."""

from mmnar_lightning.evaluation.results import Intervals, Results, ValueCell
from mmnar_lightning.report import style
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Facts, Listing, Note, Section, Text, Tiles
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.value_tables import final_values

PROTOCOLS = {
    None: "one division of the subjects",
    "split": "one division of the subjects, repeated with several seeds",
    "kfold": "K folds, each of which is tested once",
    "temporal": "trained on earlier years, tested on the next",
    "leave_pattern_out": "each pattern is tested by a run that was not trained on it",
    "crossfit": "one division, with the rectifier cross-fitted",
}
SPLITS = {
    "train": "fits weights, scales and vocabularies",
    "calibration": "fits the rectifier",
    "val": "chooses when to stop",
    "test": "is read once",
}


def about(run: PageRun) -> Section:
    """Describe the run, its cohort and its tasks.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    found = run.results
    blocks: list[Block] = []
    if found.simulated:
        blocks.append(Note("Simulated data: no number on this page is about a real person."))
    blocks += [Text(_sentence(run)), Tiles(_tiles(run)), Facts(_facts(run)), Listing(_tasks(run))]
    if found.masked_below is not None:
        blocks.append(
            Text(
                f"Every number is from public results: a cell with fewer than {found.masked_below} rows, positives or "
                "negatives, and any other from which it would follow, reads “masked”."
            )
        )
    if found.dropped:
        blocks.append(Note(f"Left out: {'; '.join(found.dropped)}."))
    return Section("about", "What this is, and on whom", blocks)


def final(results: Results) -> str:
    """The field with the scores that count: after the rectifier, if there is one."""
    return "tasks" if results.rectified is None else "rectified"


def method(run: PageRun) -> str:
    """The method of a run in words."""
    if run.baseline == "none":
        return "a network that is conditioned on the missingness pattern"
    return f"the baseline {run.baseline.replace('_', ' ')}"


def landmark(run: PageRun) -> str:
    """The time of the prediction in words."""
    found = run.setting("cohort.landmark")
    return words.LANDMARKS.get(found, str(found)) if found else "at the time that the owner of the cohort chose"


def _sentence(run: PageRun) -> str:
    found = run.results
    tasks = words.joined([style.words(name) for name in found.task_names])
    count = len(found.modalities)
    is_rectified = found.rectified is not None or found.rectified_values is not None
    rectified = "" if not is_rectified else ", followed by a rectifier that was fitted on other subjects"
    return (
        f"This page reports {method(run)}{rectified}. It predicts {tasks} {landmark(run)} in "
        f"{words.database(found.dataset)} from {count} kinds of input, any of which may be missing: "
        f"{words.joined([style.words(name) for name in found.modalities])}."
    )


def _tiles(run: PageRun) -> list[tuple[str, str, str]]:
    scores = run.results.scores[final(run.results)]
    tiles = [_of_number(task, found.all) for task, found in final_values(run.results).items()]
    for task, found in scores.items():
        cell = found.all
        if cell.auroc is None or cell.auroc.value is None:
            tiles.append(
                (
                    f"{style.words(task)}: AUROC",
                    "masked" if cell.auroc is None else "undefined",
                    "too few rows to be shown",
                )
            )
            continue
        low, high = cell.auroc.low, cell.auroc.high
        ends = "" if low is None or high is None else f"95 % interval {low:.2f} to {high:.2f}; "
        tiles.append(
            (
                f"{style.words(task)}: AUROC",
                f"{cell.auroc.value:.2f}",
                f"{ends}{words.number(cell.count)} test rows, {words.number(cell.positives)} positive",
            )
        )
    return tiles


def _of_number(task: str, cell: ValueCell) -> tuple[str, str, str]:
    name = f"{style.words(task)}: mean absolute error"
    if cell.mae is None or cell.mae.value is None:
        return name, "masked" if cell.mae is None else "undefined", "too few rows to be shown"
    low, high = cell.mae.low, cell.mae.high
    ends = "" if low is None or high is None else f"95 % interval {low:.2f} to {high:.2f}; "
    return name, f"{cell.mae.value:.2f}", f"{ends}{words.number(cell.count)} test rows"


def rule_of(intervals: Intervals, *, of_numbers: bool) -> str:
    """How intervals were computed.

    Args:
        intervals: of results.json.
        of_numbers: whether tasks are numbers, whose intervals have another rule.

    Returns:
        A sentence without a full stop; rows are effective rows of the smaller class.

    >>> rule_of(Intervals(level=0.95, num_replicates=100, clusters="subjects", few=30, many=200), of_numbers=False)
    '95 %, clustered by subjects: score-type below 30 rows of the smaller class, 100 bootstrap replicates, ...'
    """
    found = f"{intervals.level:.0%}, clustered by {intervals.clusters}".replace("%", " %")
    if of_numbers or intervals.few is None or intervals.many is None:
        return found
    few = f"score-type below {intervals.few} rows of the smaller class"
    replicates = f"{words.number(intervals.num_replicates)} bootstrap replicates"
    return f"{found}: {few}, {replicates}, analytic from {intervals.many} rows"


def _facts(run: PageRun) -> list[tuple[str, str]]:
    found = run.results
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    rows = f"{words.number(found.split.rows)} rows of {words.number(found.split.subjects)} subjects"
    pairs = [
        ("database", words.database(found.dataset) + (", simulated" if found.simulated else "")),
        ("versions", versions or "none stated"),
        ("time of the prediction", landmark(run)),
        ("row", _unit(run)),
        ("evaluation", PROTOCOLS.get(found.protocol, str(found.protocol))),
        ("test", rows),
        ("intervals", rule_of(found.intervals, of_numbers=found.values is not None)),
    ]
    if found.protocol is None:
        fractions = {split: run.setting(f"cohort.split.{split}") for split in SPLITS}
        shares = [f"{split} {share:.0%} ({SPLITS[split]})" for split, share in fractions.items() if share is not None]
        held = [
            key for key in ("test_fold", "test_from", "crossfit_fold") if run.setting(f"cohort.split.{key}") is not None
        ]
        pairs.insert(5, ("division of subjects", "; ".join(shares) if not held else f"by folds ({held[0]})"))
    return pairs


def _unit(run: PageRun) -> str:
    index = run.setting("cohort.index")
    if index is None:
        return "as the owner of the cohort chose"
    stay = "unit stay" if run.results.dataset == "eicu" else "admission"
    return f"{index} {stay} of each subject" if index != "every" else f"every {stay}"


def _tasks(run: PageRun) -> list[str]:
    cohort = run.setting("cohort") or {}
    return [
        f"{name}: {phrase}."
        for name in run.results.task_names
        if (phrase := words.task(name, run.results.dataset, cohort)) != name
    ]
