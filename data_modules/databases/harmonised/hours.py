"""Events of the 24 h before the landmark, by hour."""

import polars as pl

WINDOW_HOURS = 24


def hourly(events: pl.DataFrame) -> pl.DataFrame:
    """Keep the last 24 h and round times up to whole hours, so that `series.summarise` averages the values of an hour.

    Args:
        events: input of `series.summarise`.

    Returns:
        The kept events.

    >>> hourly(pl.DataFrame({"hours": [-24.0, -23.9, -0.4, 0.0]}))["hours"].to_list()
    [-23.0, 0.0, 0.0]
    """
    # Cast to integer first: -0.0 and 0.0 would be two hours.
    recent = events.filter(pl.col("hours") > -WINDOW_HOURS)
    return recent.with_columns(pl.col("hours").ceil().cast(pl.Int32).cast(pl.Float64))


def hourly_rates(events: pl.DataFrame, hold_hours: float | None) -> pl.DataFrame:
    """Rates of infusions by hour: `hourly`, and in hours without an event the rate that still runs.

    MIMIC-IV has an event where a rate changes, eICU one whenever a nurse charted it; without this, the number of
    events would identify the database.

    Args:
        events: input of `series.summarise`, of any time before the landmark.
        hold_hours: for how long a rate holds without a later event; None = until the next one.

    Returns:
        The events of the 24 h.

    >>> one = {"row_id": 0, "concept": 0, "specimen": None, "known": True, "censored": False}
    >>> rates = [(-40.0, 0.1), (-20.5, 0.2), (-20.2, 0.4), (-19.0, 0.0)]
    >>> found = hourly_rates(pl.DataFrame([{**one, "hours": hours, "value": rate} for hours, rate in rates]), None)
    >>> found.sort("hours", "value").select("hours", "value").rows()[:6]
    [(-23.0, 0.1), (-22.0, 0.1), (-21.0, 0.1), (-20.0, 0.2), (-20.0, 0.4), (-19.0, 0.0)]
    >>> len(found), len(hourly_rates(found, 1.0))
    (6, 6)
    """
    key = ["row_id", "concept"]
    hours = pl.Series("hours", range(1 - WINDOW_HOURS, 1), pl.Float64)
    every = events.select(key).unique().join(hours.to_frame(), how="cross").sort("hours")
    rates = events.group_by(*key, "hours").agg(pl.col("value").sort().mean()).with_columns(begun="hours").sort("hours")
    running = every.join_asof(rates, on="hours", by=key, tolerance=hold_hours, check_sortedness=False)
    # An event of the hour before is one of `hourly`.
    held = running.filter((pl.col("value") > 0) & (pl.col("begun") <= pl.col("hours") - 1)).sort(*key, "hours")
    recent = hourly(events)
    more = held.select(*key, "hours", "value", known=pl.lit(value=True), censored=pl.lit(value=False))
    return pl.concat([recent, more.cast({"value": events.schema["value"]})], how="diagonal")
