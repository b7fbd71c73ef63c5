"""Tasks of databases that are numbers; those of a custom cohort are its columns `value/<task>`."""

from collections.abc import Sequence

from data_modules.errors import UserError

LENGTH_OF_STAY = "length_of_stay"
"""Days from the prediction to the discharge from hospital, alive or dead."""
UNIT_LENGTH_OF_STAY = "unit_length_of_stay"
"""Days from the prediction to the discharge from the unit, alive or dead."""
VALUE_TASKS = (LENGTH_OF_STAY, UNIT_LENGTH_OF_STAY)


def prefix_of(task: str) -> str:
    """Return the prefix of a task's column in cohort.parquet.

    >>> prefix_of("length_of_stay"), prefix_of("icu_90d")
    ('value/', 'label/')
    """
    return "value/" if task in VALUE_TASKS else "label/"


def refuse_mixed(tasks: Sequence[str]) -> None:
    """Refuse numbers beside outcomes that are yes or no: a run has one kind of loss, metric and rectifier.

    Args:
        tasks: of a cohort.

    Raises:
        UserError: naming one of each.

    >>> refuse_mixed(["length_of_stay", "icu_90d"])
    Traceback (most recent call last):
    data_modules.errors.UserError: cohort.tasks: length_of_stay is a number, and icu_90d an outcome that is yes ...
    """
    numbers = [task for task in tasks if task in VALUE_TASKS]
    others = [task for task in tasks if task not in VALUE_TASKS]
    if numbers and others:
        raise UserError(
            f"cohort.tasks: {numbers[0]} is a number, and {others[0]} an outcome that is yes or no; give each kind a "
            "run of its own"
        )
