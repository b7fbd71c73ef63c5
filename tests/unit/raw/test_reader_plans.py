"""What a scan reads: only the columns that are asked for, and times of the rows that a filter keeps."""

import polars as pl

from data_modules.databases.mimic_iv import events
from data_modules.databases.mimic_iv.concepts import LABS
from data_modules.features.concepts import convert
from data_modules.raw import blocks, cells, source

COLUMNS = ["subject_id", "itemid", "charttime", "valuenum", "valueuom"]


def test_times_are_parsed_of_the_rows_that_a_filter_keeps(synthetic, monkeypatch):
    synthetic.rows["labevents"][1]["itemid"] = 50912
    for row in synthetic.rows["labevents"][2:]:
        row["itemid"] = 1
    parsed, usual = [], cells.parse_times

    def count(frame, columns, names):
        parsed.extend([frame.height] * len(columns.temporal(names)))
        return usual(frame, columns, names)

    monkeypatch.setattr(cells, "parse_times", count)
    release = synthetic.write("labevents").release()
    scanned = release.scan("labevents", events.LABS.columns)
    assert convert(events.records(scanned, events.LABS), LABS).collect().height == 2
    assert parsed == [2, 2], "two times of two rows"


def test_a_filter_on_a_time_and_another_column_keeps_what_it_should(synthetic):
    row = synthetic.rows["labevents"][5]
    scanned = synthetic.release().scan("labevents", COLUMNS)
    kept = scanned.filter(pl.col("charttime") == row["charttime"], pl.col("subject_id") == row["subject_id"])
    assert kept.select("charttime", "valuenum").collect().rows() == [(row["charttime"], row["valuenum"])]


def test_what_a_filter_leaves_of_many_blocks_is_handed_over_together(synthetic, monkeypatch):
    handed, usual = [], source._joined

    def count(frames):
        for frame in usual(frames):
            handed.append(frame.height)
            yield frame

    monkeypatch.setattr(source, "_joined", count)
    monkeypatch.setattr(blocks, "CHUNK", 2000)
    rows = [row["labevent_id"] for row in synthetic.rows["labevents"]]
    own = [row["labevent_id"] for row in synthetic.rows["labevents"] if row["subject_id"] == 7]
    scanned = synthetic.release().scan("labevents", ["labevent_id", "subject_id"])
    kept = scanned.filter(pl.col("subject_id") == 7).select("labevent_id")
    assert kept.collect().to_series().to_list() == own
    assert handed == [len(own)]
    handed.clear()
    monkeypatch.setattr(source, "MOST", 3)
    assert kept.collect().to_series().to_list() == own
    assert len(handed) > 5, "blocks are not held for ever"
    handed.clear()
    monkeypatch.setattr(source, "ENOUGH", 1)
    assert scanned.collect()["labevent_id"].to_list() == rows
    assert len(handed) > 15, "what is large enough is handed over at once"


def test_only_the_columns_that_are_asked_for_are_read(synthetic):
    synthetic.rows["labevents"][0] |= {"storetime": "soon", "ref_range_upper": "high"}
    scanned = synthetic.write("labevents").release().scan("labevents", [*COLUMNS, "storetime", "ref_range_upper"])
    assert scanned.select("itemid", "charttime").collect().height == len(synthetic.rows["labevents"])
    assert "PROJECT 2/7 COLUMNS" in scanned.select("itemid", "charttime").explain()


def test_empty_text_is_null_and_times_have_microseconds(synthetic):
    synthetic.rows["labevents"][0] |= {"valueuom": '""', "charttime": "2150-01-01 00:00:00.5"}
    frame = synthetic.write("labevents").release().scan("labevents", ["valueuom", "charttime"]).collect()
    assert frame.schema == {"valueuom": pl.String, "charttime": pl.Datetime("us")}
    assert frame["valueuom"][0] is None
    assert frame["charttime"][0].microsecond == 500_000


def test_the_first_rows_of_a_scan_are_the_first_of_the_file(synthetic):
    rows = synthetic.rows["labevents"][:3]
    found = synthetic.release().scan("labevents", ["labevent_id"]).head(3).collect()
    assert found["labevent_id"].to_list() == [row["labevent_id"] for row in rows]
