"""The cohort contract: columns of `cohort.parquet`, and the rules that every cohort follows.

Built and custom cohorts pass the same validation (documented in docs/cohort.md).
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_modules.errors import UserError
from data_modules.vocabulary import SPLITS, TaskKind

LABEL, VALUE, PRESENT = "label/", "value/", "present/"
TASK_PREFIXES: dict[str, TaskKind] = {LABEL: "binary", VALUE: "value"}
"""Prefix of a column -> kind of its task: the only place where the kind of a task is declared."""
_TEXT = (pl.String, pl.Categorical, pl.Enum, pl.Null)
MAX_NAME = 100
"""Characters of the name of a task or modality, which names files, folders and metrics."""

KEY_COLUMNS: dict[str, pl.DataType] = {
    "row_id": pl.UInt32(),
    "subject_id": pl.String(),
    "subject": pl.UInt32(),
    "admission_id": pl.Int64(),
    "stay_id": pl.Int64(),
    "hospital_id": pl.Int64(),
}
OPTIONAL_COLUMNS = ("prediction_at", "prediction_offset_minutes", "year_group")
HOSPITAL, HOSPITALS = "hospital_id", "hospitals.csv"
GROUPS = {HOSPITAL: "hospital", "year_group": "year group"}
"""Column -> name of the groups of rows in the evaluation; the first column that a cohort has is used."""
SPLIT_COLUMNS: dict[str, pl.DataType] = {"split": pl.String(), "fold": pl.Int8()}


class ContractError(UserError):
    """A cohort violates the contract; names the column, the number of rows and the rule."""

    def __init__(self, place: Path | str, column: str, num_rows: int, rule: str) -> None:
        rows = "" if num_rows == 0 else f" ({num_rows} rows)"
        super().__init__(f"{place}: column {column!r}{rows}: {rule}. docs/cohort.md documents the contract.")


def tasks_of(frame: pl.DataFrame) -> list[str]:
    """Return the tasks of a cohort, in column order.

    >>> tasks_of(pl.DataFrame({"row_id": [0], "label/mortality_180d": [True]}))
    ['mortality_180d']
    """
    own = [name.partition("/") for name in frame.columns]
    return [task for prefix, slash, task in own if prefix + slash in TASK_PREFIXES]


def kind_of(frame: pl.DataFrame) -> TaskKind:
    """Return the kind of a cohort's tasks; without any it is binary.

    >>> kind_of(pl.DataFrame({"row_id": [0], "value/length_of_stay": [2.5]}))
    'value'
    """
    return "value" if any(name.startswith(VALUE) for name in frame.columns) else "binary"


def task_column(frame: pl.DataFrame, task: str) -> str:
    """Return the column of a task in a cohort, which has one of both prefixes.

    >>> task_column(pl.DataFrame({"row_id": [0], "label/death": [True]}), "death")
    'label/death'
    """
    return VALUE + task if VALUE + task in frame.columns else LABEL + task


def modalities_of(frame: pl.DataFrame) -> list[str]:
    """Return the modalities of a cohort, in column order, which is the order of the pattern's bits.

    >>> modalities_of(pl.DataFrame({"present/labs": [True], "present/cxr": [False]}))
    ['labs', 'cxr']
    """
    return [name.removeprefix(PRESENT) for name in frame.columns if name.startswith(PRESENT)]


def groups_of(frame: pl.DataFrame) -> tuple[str, pl.Series] | None:
    """Return the name of the groups and the group of each row, String or null; None without groups.

    Hospitals have the codes of `hospital_codes`, so that results and predictions hold no id of one.

    >>> groups_of(pl.DataFrame({"hospital_id": [7, None, 20, 20]}))[1].to_list()
    ['H002', None, 'H001', 'H001']
    """
    for column, name in GROUPS.items():
        if column in frame.columns and frame[column].null_count() < frame.height:
            groups = frame[column].cast(pl.String)
            if column == HOSPITAL:
                key = hospital_codes(frame)
                groups = frame[column].replace_strict(key[HOSPITAL], key["code"], default=None, return_dtype=pl.String)
            return name, groups
    return None


def hospital_codes(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `code` and `hospital_id`: hospitals are numbered by their rows in the cohort, ties by id.

    The codes are the same in all folds and runs of a cohort, and no id follows from one, as it would from a digest.

    >>> hospital_codes(pl.DataFrame({"hospital_id": [7, None, 20, 20]})).rows()
    [('H001', 20), ('H002', 7)]
    """
    sizes = frame.drop_nulls(HOSPITAL).group_by(HOSPITAL).len().sort(-pl.col("len").cast(pl.Int64), HOSPITAL)
    number = pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(3)
    return sizes.select(code=pl.lit("H") + number, hospital_id=HOSPITAL)


def write_hospitals(cohort: pl.DataFrame, folder: Path) -> None:
    """Write the key of the hospitals' codes, hospitals.csv, into a cohort's folder; nothing without hospitals."""
    key = hospital_codes(cohort)
    if key.height:
        key.write_csv(folder / HOSPITALS)


def dense_index(subject_id: pl.Expr) -> pl.Expr:
    """Return the 0-based dense index of subjects in the order of their ids, UInt32.

    >>> pl.DataFrame({"subject_id": ["b", "a", "b"]}).select(dense_index(pl.col("subject_id"))).to_series().to_list()
    [1, 0, 1]
    """
    return (subject_id.rank("dense") - 1).cast(pl.UInt32)


def arrange(frame: pl.DataFrame, tasks: Sequence[str], modalities: Sequence[str]) -> pl.DataFrame:
    """Select the columns of the contract in its order and dtypes; missing optional ids become null.

    Args:
        frame: rows with `row_id`, `subject_id`, labels, presence, splits and one prediction time column.
        tasks: task names.
        modalities: modality names.

    Returns:
        The rows, sorted by `row_id`.

    >>> rows = {"row_id": [1, 0], "subject_id": ["b", "a"], "split": ["train", "val"], "fold": [0, 1],
    ...         "label/death": [True, None], "present/labs": [True, False]}
    >>> arrange(pl.DataFrame(rows), ["death"], ["labs"]).select("row_id", "subject", "stay_id", "label/death").rows()
    [(0, 0, None, None), (1, 1, None, True)]
    """
    keys = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in KEY_COLUMNS.items()
        if name != "subject"
    ]
    optional = [name for name in OPTIONAL_COLUMNS if name in frame.columns]
    arranged = frame.select(
        *keys,
        *optional,
        *(pl.col(name).cast(dtype) for name, dtype in SPLIT_COLUMNS.items()),
        *(_outcome(task_column(frame, task)) for task in tasks),
        *(pl.col(PRESENT + modality).cast(pl.Boolean) for modality in modalities),
    )
    subject = arranged.select("*", subject=dense_index(pl.col("subject_id")))
    return subject.select("row_id", "subject_id", "subject", pl.exclude("row_id", "subject_id", "subject")).sort(
        "row_id"
    )


def _outcome(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64 if column.startswith(VALUE) else pl.Boolean)


def validate(frame: pl.DataFrame, place: Path | str, *, labelled: bool = True) -> None:
    """Validate a cohort against the contract.

    Args:
        frame: the rows of cohort.parquet.
        place: for messages.
        labelled: whether it must have a task; rows that are only predicted need none.

    Raises:
        ContractError: naming the column, the number of violating rows and the rule.

    >>> frame = pl.DataFrame({"row_id": [0], "subject_id": ["a"], "label/death": [True], "present/labs": [None]})
    >>> validate(frame.with_columns(pl.col("present/labs").cast(pl.Boolean)), "mine")
    Traceback (most recent call last):
    data_modules.cohorts.columns.ContractError: mine: column 'present/labs' (1 rows): must be True or False, never ...
    """
    _require_columns(frame, place, labelled=labelled)
    _check_ids(frame, place)
    row_id = frame["row_id"]
    in_range = row_id.dtype.is_integer() and bool(row_id.is_between(0, frame.height - 1).all())
    if not in_range or row_id.null_count() or row_id.n_unique() < frame.height:
        raise ContractError(place, "row_id", 0, f"must be the integers 0 to {frame.height - 1}, each once")
    if "fold" in frame.columns:
        inside = pl.col("fold").is_between(0, 127).fill_null(value=False)
        rule = "must lie in 0 to 127, and never be null; without the column folds are drawn"
        _refuse(place, "fold", frame.filter(~inside).height, rule)
    for kind, prefix in (("task", LABEL), ("task", VALUE), ("modality", PRESENT)):
        for name in frame.columns:
            if name.startswith(prefix):
                check_name(place, prefix, kind, name.removeprefix(prefix))
    _refuse(place, "subject_id", frame["subject_id"].null_count(), "must name a subject in every row")
    _check_values(frame, place)
    for name in frame.columns:
        if name.startswith((LABEL, PRESENT)) and frame[name].dtype != pl.Boolean:
            raise ContractError(place, name, 0, f"must be Boolean, but is {frame[name].dtype}")
        if name.startswith(PRESENT):
            _refuse(place, name, frame[name].null_count(), "must be True or False, never null")
    if "split" in frame.columns:
        if frame["split"].dtype.base_type() not in _TEXT:
            rule = f"must be text, one of {', '.join(SPLITS)}, but is {frame['split'].dtype}"
            raise ContractError(place, "split", 0, rule)
        split = pl.col("split").cast(pl.String)
        unknown = frame.filter(~split.is_in(SPLITS) | split.is_null()).height
        _refuse(place, "split", unknown, f"must be one of {', '.join(SPLITS)}")
    for name in ("split", "fold"):
        if name in frame.columns:
            shared = frame.group_by("subject_id").agg(pl.col(name).n_unique()).filter(pl.col(name) > 1).height
            _refuse(place, name, shared, f"a subject must be in one {name} only", what="subjects")


def _check_values(frame: pl.DataFrame, place: Path | str) -> None:
    """Refuse numbers to predict that are infinite or no numbers, or that stand beside outcomes of yes or no."""
    values = [name for name in frame.columns if name.startswith(VALUE)]
    for name in values:
        if any(other.startswith(LABEL) for other in frame.columns):
            raise ContractError(place, name, 0, f"numbers ({VALUE}...) and outcomes ({LABEL}...) cannot be mixed")
        if not frame[name].dtype.is_numeric():
            raise ContractError(place, name, 0, f"must be numeric, but is {frame[name].dtype}")
        infinite = frame.filter(~pl.col(name).cast(pl.Float64).is_finite()).height
        _refuse(place, name, infinite, "must be finite; write null for an unknown value")


def _check_ids(frame: pl.DataFrame, place: Path | str) -> None:
    """Refuse identifiers of other dtypes, or that do not fit those of `KEY_COLUMNS`."""
    dtype = frame["subject_id"].dtype
    if not dtype.is_integer() and dtype.base_type() not in _TEXT:
        raise ContractError(place, "subject_id", 0, f"must be text or integer, but is {dtype}")
    for name in ("admission_id", "stay_id", "hospital_id", "fold"):
        if name not in frame.columns or frame[name].dtype == pl.Null:
            continue
        if not frame[name].dtype.is_integer():
            raise ContractError(place, name, 0, f"must be integer, but is {frame[name].dtype}")
        large = frame[name].drop_nulls().cast(pl.Int64, strict=False).null_count()
        _refuse(place, name, large, "must lie below 2**63, as a signed 64-bit integer")


def check_name(place: Path | str, prefix: str, kind: str, name: str) -> None:
    """Refuse names of tasks and modalities that cannot name a file, a folder or a metric.

    Args:
        place: for messages.
        prefix: of the column.
        kind: what is named.
        name: without the prefix.

    Raises:
        ContractError: with the rule.

    >>> check_name("cohort.parquet", "label/", "task", "death")
    >>> check_name("cohort.parquet", "label/", "task", "")
    Traceback (most recent call last):
    data_modules.cohorts.columns.ContractError: cohort.parquet: column 'label/': the name of a task must not be ...
    """
    if not name:
        raise ContractError(place, prefix, 0, f"the name of a {kind} must not be empty")
    if len(name) > MAX_NAME:
        shown = f"{prefix}{name[:20]}..."
        raise ContractError(place, shown, 0, f"the name of a {kind} must have at most {MAX_NAME} characters")
    if "/" in name or name.startswith(".") or not name.isprintable():
        rule = f"the name of a {kind} must not contain a slash or control character, nor begin with a full stop"
        raise ContractError(place, prefix + name, 0, rule)


def _require_columns(frame: pl.DataFrame, place: Path | str, *, labelled: bool) -> None:
    for name in ("row_id", "subject_id"):
        if name not in frame.columns:
            raise ContractError(place, name, 0, "is missing")
    if labelled and not tasks_of(frame):
        raise ContractError(place, LABEL + "<task>", 0, "there is no label column, nor one of values")
    if not modalities_of(frame):
        raise ContractError(place, PRESENT + "<modality>", 0, "there is no presence column")
    if frame.is_empty():
        raise ContractError(place, "row_id", 0, "the cohort has no rows")


def _refuse(place: Path | str, column: str, count: int, rule: str, what: str = "rows") -> None:
    if count:
        raise ContractError(place, column, count, rule if what == "rows" else f"{rule}; these are {what}")
