"""Words of a custom cohort that become columns: levels of categories and names of events, fitted on train rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from data_modules.cohorts.columns import PRESENT, ContractError
from data_modules.features import categories, codes

RARE = "rare"
"""Level of the cells whose own level is of too few train subjects."""
MAX_WORDS = 200
"""Most levels of a column, and most names of a modality's events."""
TEXT = (pl.String, pl.Categorical, pl.Enum)
"""Dtypes of categories."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What decides which words become columns.

    Attributes:
        min_subjects: minimum number of train subjects with a word, `privacy.min_count`: its column has its name.
        columns: modality -> the columns of a model, whose words are used instead of fitting them.
    """

    min_subjects: int = 10
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, object]:
        """Plain values that decide the columns."""
        return {
            "min_subjects": self.min_subjects,
            "columns": {name: list(columns) for name, columns in self.columns.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """The words of one modality.

    Attributes:
        modality: its name.
        path: its file, for messages.
        present: (N,) Boolean, presence of the modality.
        train: `row_id`, `subject_id` of its train rows.
        words: see there.
    """

    modality: str
    path: Path
    present: pl.Series
    train: pl.DataFrame
    words: Words

    @classmethod
    def of(cls, modality: str, path: Path, cohort: pl.DataFrame, words: Words) -> "Fitting":
        """The words of a modality of a cohort, whose rows have `split`."""
        train = cohort.filter((pl.col("split") == "train") & pl.col(PRESENT + modality))
        keys = train.select(pl.col("row_id").cast(pl.Int64), "subject_id")
        return cls(modality=modality, path=path, present=cohort[PRESENT + modality], train=keys, words=words)

    @property
    def columns(self) -> Sequence[str] | None:
        """The columns of a model; None = words are fitted."""
        return self.words.columns.get(self.modality)

    def fit(self, pairs: pl.DataFrame) -> list[str]:
        """Select the words of enough train subjects.

        Args:
            pairs: `row_id`, `word`, without null.

        Returns:
            The words, those of most subjects first.
        """
        minimum = max(1, self.words.min_subjects)
        return codes.fit_vocabulary(pairs.unique(), self.train, min_subjects=minimum, max_words=MAX_WORDS)

    def line(self, what: str, known: int, total: int, then: str) -> list[str]:
        """The line for the user on the words without a column; none if all have one."""
        few = f"of fewer than {self.words.min_subjects} train subjects, or beyond the {MAX_WORDS} most frequent ones"
        if known == total:
            return []
        if self.columns is not None:
            few = "unknown to the model"
        return [f"{self.modality}: {total - known} of {total} {what} are {few}, and {then}"]


def indicators(table: pl.DataFrame, fitting: Fitting) -> tuple[pl.DataFrame, list[str]]:
    """Replace the text columns of a table by one indicator a level; the other columns stay as they are.

    A level is a text in lower case without surrounding space; an empty cell is not measured.

    Args:
        table: `row_id` and the columns of the modality.
        fitting: of the modality.

    Returns:
        The table with `<column>/<level>` for the levels of enough train subjects and `<column>/rare` for all others,
        and lines for the user.

    Raises:
        ContractError: if another column already has such a name.

    >>> rows = pl.DataFrame({"row_id": [0, 1, 2], "subject_id": ["a", "b", "c"]})
    >>> words = Words(min_subjects=2)
    >>> fitting = Fitting(modality="m", path=Path(), present=pl.Series([True] * 3), train=rows, words=words)
    >>> table = pl.DataFrame({"row_id": [0, 1, 2], "sex": ["F", "f ", "x"]})
    >>> indicators(table, fitting)[0].select("sex/f", "sex/rare").rows()
    [(1.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    """
    lines: list[str] = []
    columns: list[pl.Expr] = []
    for name, dtype in table.schema.items():
        if dtype.base_type() not in TEXT:
            columns.append(pl.col(name))
            continue
        cells = table.select(pl.col("row_id").cast(pl.Int64), word=_cell(name))
        found = cells.filter(
            pl.col("word").is_not_null() & pl.col("row_id").is_in(fitting.present.arg_true().implode())
        )
        levels = _levels(name, found, fitting)
        given = found["word"].unique()
        lines += fitting.line(
            f"levels of column {name} of {fitting.path.name}",
            int(given.is_in(levels).sum()),
            len(given),
            "count as rare",
        )
        groups = {level: [level] for level in levels if level != RARE}
        columns += categories.indicators(_cell(name), name, groups, exact=True, rest=RARE)
    names = [column.meta.output_name() for column in columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ContractError(fitting.path, twice, 0, "is the name of a column and of a level of another; rename it")
    return table.select(columns), lines


def _cell(column: str) -> pl.Expr:
    text = pl.col(column).cast(pl.String).str.strip_chars().str.to_lowercase()
    return pl.when(text != "").then(text)


def _levels(name: str, found: pl.DataFrame, fitting: Fitting) -> list[str]:
    if fitting.columns is None:
        return sorted(fitting.fit(found))
    prefix = f"{name}/"
    return [column.removeprefix(prefix) for column in fitting.columns if column.startswith(prefix)]
