"""What polars is asked to do: filter before it parses times, read only what is needed."""

import polars as pl

from data_modules.databases.mimic_iv import events
from data_modules.databases.mimic_iv.concepts import LABS
from data_modules.features.concepts import convert


def _depth(plan: str, word: str) -> int:
    """Line of the plan, from the top, that holds a word; the scan is at the bottom."""
    return next(number for number, line in enumerate(plan.splitlines()) if word in line)


def test_a_filter_on_itemid_runs_before_times_are_parsed(synthetic):
    scanned = synthetic.release().scan("labevents", events.LABS.columns)
    plan = convert(events.records(scanned, events.LABS), LABS).explain()
    assert _depth(plan, "strptime") < _depth(plan, "SELECTION")
    below = "\n".join(plan.splitlines()[_depth(plan, "Csv SCAN") :])
    assert "strptime" not in below
    assert 'SELECTION: col("itemid")' in below
    assert f"PROJECT {len(events.LABS.columns)}/" in below


def test_only_the_columns_that_are_asked_for_are_read(synthetic):
    plan = synthetic.release().scan("labevents", ["itemid", "charttime"]).explain()
    assert f"PROJECT 2/{len(synthetic.headers['labevents'])} COLUMNS" in plan


def test_empty_text_is_null_and_times_have_microseconds(synthetic):
    synthetic.rows["labevents"][0] |= {"valueuom": '""', "charttime": "2150-01-01 00:00:00.5"}
    frame = synthetic.write("labevents").release().scan("labevents", ["valueuom", "charttime"]).collect()
    assert frame.schema == {"valueuom": pl.String, "charttime": pl.Datetime("us")}
    assert frame["valueuom"][0] is None
    assert frame["charttime"][0].microsecond == 500_000
