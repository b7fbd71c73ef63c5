"""The death of a subject, from all of its records: one for every label and for the rules of the cohort.

Deaths are recorded three times: `deathtime` and `hospital_expire_flag` of an admission, and `dod` of the subject. They
may contradict each other and the admissions. An admission that begins more than a day after the death shows that the
death, or its subject, is wrong: the death is doubtful, and outcomes that depend on it are unknown.
"""

import polars as pl

_DAY = pl.duration(days=1)


def with_deaths(admissions: pl.DataFrame) -> pl.DataFrame:
    """Add the death of their subject to admissions.

    Args:
        admissions: all admissions of the subjects: `subject_id`, `admittime`, `deathtime`, `dod`.

    Returns:
        The admissions with `died_at` (earliest deathtime; null = none in hospital), `died_on` (its date, else `dod`;
        null = survived) and `doubtful` (True = an admission begins more than a day after the death).

    >>> from datetime import date, datetime as day
    >>> rows = {"subject_id": [7, 7], "admittime": [day(2150, 1, 1), day(2152, 1, 1)], "deathtime": [None, None],
    ...         "dod": [date(2150, 1, 3)] * 2}
    >>> frame = pl.DataFrame(rows, schema_overrides={"deathtime": pl.Datetime("us")})
    >>> with_deaths(frame).select("died_on", "doubtful").row(0)
    (datetime.date(2150, 1, 3), True)
    """
    died_at = pl.col("deathtime").min().over("subject_id")
    died_on = pl.coalesce(died_at.dt.date(), pl.col("dod").min().over("subject_id"))
    last = pl.col("admittime").max().over("subject_id").dt.date()
    dated = admissions.with_columns(died_at=died_at, died_on=died_on)
    return dated.with_columns(doubtful=(last > pl.col("died_on") + _DAY).fill_null(value=False))


def begins_after() -> pl.Expr:
    """Return whether an admission begins after the subject's death, as that of an organ donor does.

    A doubtful death ends no admission. Reads the columns of `with_deaths`.

    Returns:
        (N,) bool expression.

    >>> from datetime import date, datetime
    >>> frame = pl.DataFrame({
    ...     "admittime": [datetime(2150, 1, 1), datetime(2150, 1, 5)],
    ...     "dischtime": [datetime(2150, 1, 3), datetime(2150, 1, 6)],
    ...     "died_at": [datetime(2150, 1, 3)] * 2, "died_on": [date(2150, 1, 3)] * 2, "doubtful": [False] * 2,
    ...     "deathtime": [datetime(2150, 1, 3), None], "hospital_expire_flag": [1, 0],
    ... })
    >>> frame.select(begins_after()).to_series().to_list()
    [False, True]
    """
    after = (pl.col("admittime") >= pl.col("died_at")) | (pl.col("admittime").dt.date() > pl.col("died_on"))
    own = pl.col("deathtime") == pl.col("died_at")
    return after.fill_null(value=False) & ~pl.col("doubtful") & ~own.fill_null(value=False)


def alive_at(time: str) -> pl.Expr:
    """Return whether no death in hospital, in this or another admission, is recorded up to a time.

    A doubtful death counts only in its own admission, and one before the admission (of an organ donor) not in it. Reads
    the columns of `with_deaths`.

    Args:
        time: column of the time.

    Returns:
        (N,) bool expression.

    >>> from datetime import date, datetime
    >>> frame = pl.DataFrame({
    ...     "admittime": [datetime(2150, 1, 1), datetime(2150, 1, 5)],
    ...     "dischtime": [datetime(2150, 1, 3), datetime(2150, 1, 6)],
    ...     "died_at": [datetime(2150, 1, 3)] * 2, "died_on": [date(2150, 1, 3)] * 2, "doubtful": [False] * 2,
    ...     "deathtime": [datetime(2150, 1, 3), None], "hospital_expire_flag": [1, 0],
    ... })
    >>> frame.select(alive_at("admittime"), later=alive_at("dischtime")).rows()
    [(True, False), (True, True)]
    """
    died_at = pl.when("doubtful").then("deathtime").otherwise("died_at")
    return died_at.is_null() | (died_at > pl.col(time)) | (died_at < pl.col("admittime"))


def during() -> pl.Expr:
    """Return whether the subject died in hospital during an admission; null = unknown.

    A death recorded in a nested admission is one of the outer admission too. Unknown are survivors, by
    `hospital_expire_flag`, whose death is dated before their discharge, and all whose death is doubtful. Reads the
    columns of `with_deaths`.

    Returns:
        (N,) bool expression.

    >>> from datetime import date, datetime
    >>> frame = pl.DataFrame({
    ...     "admittime": [datetime(2150, 1, 1), datetime(2150, 1, 5)],
    ...     "dischtime": [datetime(2150, 1, 3), datetime(2150, 1, 6)],
    ...     "died_at": [datetime(2150, 1, 3)] * 2, "died_on": [date(2150, 1, 3)] * 2, "doubtful": [False] * 2,
    ...     "deathtime": [datetime(2150, 1, 3), None], "hospital_expire_flag": [1, 0],
    ... })
    >>> frame.select(during()).to_series().to_list()
    [True, None]
    """
    flagged = pl.col("hospital_expire_flag") == 1
    inside = pl.col("died_at").is_between("admittime", pl.max_horizontal("dischtime", "deathtime"))
    unknown = pl.col("doubtful") | before_discharge()
    return pl.when(unknown).then(None).otherwise(flagged | inside.fill_null(value=False))


def before_discharge() -> pl.Expr:
    """Return whether a survivor's death, by date, is before the discharge. Reads the columns of `with_deaths`.

    Returns:
        (N,) bool expression.

    >>> from datetime import date, datetime
    >>> frame = pl.DataFrame({
    ...     "admittime": [datetime(2150, 1, 1), datetime(2150, 1, 5)],
    ...     "dischtime": [datetime(2150, 1, 3), datetime(2150, 1, 6)],
    ...     "died_at": [datetime(2150, 1, 3)] * 2, "died_on": [date(2150, 1, 3)] * 2, "doubtful": [False] * 2,
    ...     "deathtime": [datetime(2150, 1, 3), None], "hospital_expire_flag": [1, 0],
    ... })
    >>> frame.select(before_discharge()).to_series().to_list()
    [False, True]
    """
    nested = pl.col("died_at").is_between("admittime", "dischtime").fill_null(value=False)
    early = pl.col("died_on") < pl.col("dischtime").dt.date()
    return (pl.col("hospital_expire_flag") == 0) & ~nested & early.fill_null(value=False)


def within(days: int) -> pl.Expr:
    """Return whether 0 ≤ date of death − date(dischtime) ≤ days; null = unknown.

    Dates are compared, because `dod` has no time. No death is a survivor: deaths are recorded for one year after the
    last discharge. Unknown are deaths before the discharge and doubtful ones. Reads `died_on` and `doubtful`.

    >>> from datetime import date, datetime as day
    >>> died = [date(2150, 1, 1), date(2150, 7, 1), date(2149, 12, 31), None]
    >>> frame = pl.DataFrame({"dischtime": [day(2150, 1, 1, 18)] * 4, "died_on": died, "doubtful": [False] * 4})
    >>> frame.select(within(180)).to_series().to_list()
    [True, False, None, False]
    """
    gap = pl.col("died_on") - pl.col("dischtime").dt.date()
    unknown = pl.col("doubtful") | (gap < pl.duration(days=0)).fill_null(value=False)
    return pl.when(unknown).then(None).otherwise((gap <= pl.duration(days=days)).fill_null(value=False))


def contradictions(admissions: pl.DataFrame) -> dict[str, int]:
    """Count the contradictions between records of death, for the manifest.

    Args:
        admissions: result of `with_deaths` for all admissions, with `discharge_location`.

    Returns:
        Contradiction -> number of admissions, or of subjects.
    """
    died = pl.col("hospital_expire_flag") == 1
    other = pl.col("died_at").is_between("admittime", "dischtime") & (
        pl.col("deathtime") != pl.col("died_at")
    ).fill_null(value=True)
    counted = {
        "dod before the discharge of a survivor (outcomes unknown)": before_discharge() & ~pl.col("doubtful"),
        "hospital_expire_flag contradicts deathtime": died != pl.col("deathtime").is_not_null(),
        "hospital_expire_flag contradicts discharge_location": died != (pl.col("discharge_location") == "DIED"),
        "admissions during which the subject died in another one": other & ~pl.col("doubtful"),
    }
    doubtful = admissions.filter("doubtful")["subject_id"].n_unique()
    name = "subjects with an admission more than a day after their death (outcomes unknown)"
    return {text: admissions.filter(where).height for text, where in counted.items()} | {name: doubtful}
