"""Declarations of raw tables: columns, dtypes, units, keys and times."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

DTYPES: Mapping[str, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "str": pl.String(),
    "datetime": pl.Datetime("us"),
    "date": pl.Date(),
}


def parse_columns(text: str) -> dict[str, pl.DataType]:
    """Return the columns of a declaration: `name:dtype` pairs in file order.

    >>> parse_columns("subject_id:int dod:date")
    {'subject_id': Int64, 'dod': Date}
    """
    pairs = (word.split(":") for word in text.split())
    return {name: DTYPES[dtype] for name, dtype in pairs}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A raw table of a release.

    Attributes:
        name: the name used in the code, for example `labevents`.
        project: the PhysioNet project that publishes it.
        path: folder and file within the release, without .csv or .csv.gz.
        columns: name -> dtype, in file order.
        key: columns that identify a row; empty if the publisher states none.
        event_at: column with the time of the event, if any.
        available_at: column with the time of entry into the record, if any.
        units: column -> unit, or the name of the column with the unit of each row.
        core: True if every cohort needs it.
    """

    name: str
    project: str
    path: str
    columns: Mapping[str, pl.DataType]
    key: tuple[str, ...] = ()
    event_at: str | None = None
    available_at: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    core: bool = False

    def __post_init__(self) -> None:
        """Assert that keys, times and units name declared columns."""
        named = [*self.key, *self.units, *filter(None, (self.event_at, self.available_at))]
        assert not set(named) - set(self.columns), f"{self.name} names undeclared columns"


@dataclass(frozen=True, kw_only=True)
class ReleaseSchema:
    """A database: the tables of its PhysioNet projects.

    Attributes:
        name: `mimic_iv` or `eicu`.
        root_setting: configuration key and environment variable of its folder.
        tables: table name -> declaration.
    """

    name: str
    root_setting: tuple[str, str]
    tables: Mapping[str, Table]

    @property
    def core_tables(self) -> list[str]:
        """Names of the tables that every cohort needs."""
        return [name for name, table in self.tables.items() if table.core]


def declare(*tables: Table) -> dict[str, Table]:
    """Index declarations by name; names are unique."""
    indexed = {table.name: table for table in tables}
    assert len(indexed) == len(tables), "a table is declared twice"
    return indexed
