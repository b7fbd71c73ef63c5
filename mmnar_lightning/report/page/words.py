"""Names of the program in the words of a reader who does not know it."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from data_modules.cohorts import icd_blocks
from data_modules.cohorts.value_tasks import LENGTH_OF_STAY, UNIT_LENGTH_OF_STAY, VALUE_TASKS
from data_modules.databases.mimic_iv.tasks import parse_task
from data_modules.errors import UserError
from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.report.formats import number_text

SPACE = "\N{NO-BREAK SPACE}"
"""Keeps an interval on one line."""
DATABASES = {
    "mimic": "MIMIC-IV",
    "eicu": "the eICU Collaborative Research Database",
    "custom": "a cohort of the user's",
}
LANDMARKS = {
    "discharge": "at discharge from hospital",
    "icu_24h": "24 hours into the first stay in intensive care",
    "unit_24h": "24 hours into the stay in the unit",
    "unit_discharge": "at discharge from the unit",
}
BETTER = {
    "auroc": "1 is perfect, 0.5 is chance",
    "average_precision": "1 is perfect, the risk is chance",
    "brier": "0 is perfect",
    "calibration_error": "0 is perfect",
    "observed_expected": "1 is perfect; above it, risks are too low",
    "calibration_slope": "1 is perfect; below it, risks are too extreme",
    "calibration_intercept": "0 is perfect; above it, risks are too low",
}
"""Name of a metric -> how it is read."""
BUILT_IN = ("mimic", "eicu")
"""Datasets whose numbers and phenotypes have the same names."""
_STAYS = {
    LENGTH_OF_STAY: "days from the prediction to the discharge from hospital, alive or dead",
    UNIT_LENGTH_OF_STAY: "days from the prediction to the discharge from the unit, alive or dead",
}
_OF_EICU = {
    "in_hospital_mortality": "death in hospital",
    "unit_mortality": "death in the unit",
    "icu_readmission": "another stay in an intensive care unit during the same hospital stay",
}
_DEATHS = {
    "negative": "a death in the window without the event counts as no event",
    "exclude": "a death in the window without the event leaves the outcome unknown",
    "composite": "a death in the window counts as the event",
}


def database(dataset: str) -> str:
    """The database in words."""
    return DATABASES.get(dataset, dataset)


def task(name: str, dataset: str, cohort: Mapping[str, Any]) -> str:
    """What a task predicts.

    Args:
        name: of the task.
        dataset: of the cohort.
        cohort: its settings.

    Returns:
        A phrase.

    >>> task("icu_90d", "mimic", {"min_gap_hours": 6.0})
    'a stay in intensive care in a later admission within 90 days of discharge; events within 6 hours do not count'
    >>> task("phenotype_liver", "mimic", {})
    'a diagnosis code of the stay in the block “diseases of liver”'
    >>> task("sepsis", "custom", {})
    'sepsis, as the owner of the cohort labelled it'
    """
    if dataset == "custom":
        return f"{name}, as the owner of the cohort labelled it"
    phrase, needs_event = _phrase(name, dataset)
    if not needs_event:
        return phrase
    gap = cohort.get("min_gap_hours") or 0
    details = [f"events within {gap:g} hours do not count"] if gap else []
    details += [_DEATHS[cohort["death_in_window"]]] if cohort.get("death_in_window") in _DEATHS else []
    return "; ".join([phrase, *details])


def _phrase(name: str, dataset: str) -> tuple[str, bool]:
    """A phrase, and whether a death can prevent the event."""
    if dataset in BUILT_IN and name in VALUE_TASKS:
        return _STAYS[name], False
    if dataset in BUILT_IN and name in icd_blocks.TASKS:
        (block,) = icd_blocks.of_tasks([name])
        return f"a diagnosis code of the stay in the block “{block.title}”", False
    if dataset == "eicu" and name in _OF_EICU:
        return _OF_EICU[name], name == "icu_readmission"
    if dataset != "mimic":
        return f"{name}, as the database {dataset} defines it", False
    try:
        parsed = parse_task(name)
    except UserError:
        return name, False
    within = f"within {parsed.window_days} days of discharge"
    phrases = {
        "readmission": f"another admission to hospital {within}",
        "icu": f"a stay in intensive care in a later admission {within}",
        "mortality": f"death {within}",
        "in_hospital_mortality": "death in hospital",
    }
    return phrases[parsed.kind], parsed.needs_later_admission


def number(value: int | None) -> str:
    """A count, or that it is masked.

    Args:
        value: the count; None if it is masked.

    Returns:
        Digits with commas, or a word.

    >>> number(12345), number(None)
    ('12,345', 'masked')
    """
    return "masked" if value is None else f"{value:,}"


def counts(rows: int | None, positives: int | None) -> str:
    """Rows, and the positives of them, which no line break divides.

    Args:
        rows: number of rows; None if it is masked.
        positives: number of positive ones.

    Returns:
        Both, or a word.

    >>> counts(648, 91).replace(SPACE, " "), counts(None, None)
    ('648 (91)', 'masked')
    """
    return number(rows) if rows is None else f"{number(rows)}{SPACE}({number(positives)})"


def score(found: Score | None, digits: str = ".3f") -> str:
    """A metric with its interval, which no line break divides.

    Args:
        found: the metric; None if it is masked.
        digits: format of its numbers.

    Returns:
        Numbers, or a word.

    >>> score(Score(value=0.7, low=0.65, high=0.75, method="bootstrap", num_defined=9), ".2f").replace(SPACE, " ")
    '0.70 (0.65 to 0.75)'
    >>> score(None)
    'masked'
    """
    if found is None:
        return "masked"
    if found.value is None:
        return "undefined"
    ends = ""
    if found.low is not None and found.high is not None:
        ends = f" ({number_text(found.low, digits)}{SPACE}to{SPACE}{number_text(found.high, digits)})"
    return f"{number_text(found.value, digits)}{ends}"


def wrapped(text: str, characters: int) -> str:
    """A text in several lines."""
    return "\n".join(textwrap.wrap(text, characters))


def joined(names: Sequence[str]) -> str:
    """Names in a sentence.

    Args:
        names: at least one.

    Returns:
        The names with commas, and "and" before the last; with semicolons, if a name has a comma of its own.

    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    >>> joined(["death, 90 days", "death, 180 days", "readmission"])
    'death, 90 days; death, 180 days; and readmission'
    """
    if len(names) == 1:
        return names[0]
    if any("," in name for name in names):
        return f"{'; '.join(names[:-1])}; and {names[-1]}"
    return f"{', '.join(names[:-1])} and {names[-1]}"
