"""The patterns and the prevalence that a manifest shows."""

import polars as pl

from data_modules.cohorts.presence import count_patterns, prevalence

TRAIN = {"11": 1, "10": 2, "01": 3, "00": 0}
VAL = {"11": 1, "10": 4, "01": 0, "00": 2}


def cohort():
    rows = [
        {"split": split, "present/labs": pattern[0] == "1", "present/notes": pattern[1] == "1"}
        for split, counts in (("train", TRAIN), ("val", VAL))
        for pattern, count in counts.items()
        for _ in range(count)
    ]
    return pl.DataFrame(rows)


def test_patterns_are_counted_over_all_rows_and_over_train_rows_the_most_frequent_first():
    found = count_patterns(cohort(), ["labs", "notes"])
    counts = [(entry["label"], entry["rows"], entry["train_rows"]) for entry in found]
    assert counts == [("10", 6, 2), ("01", 3, 3), ("00", 2, 0), ("11", 2, 1)]


def test_prevalence_counts_known_rows_and_positives_by_split():
    rows = pl.DataFrame(
        {"split": ["train"] * 4 + ["val"] * 3, "label/death": [True, False, False, None, True, True, False]}
    )
    assert prevalence(rows, ["death"]) == {
        "death": {"train": {"known": 3, "positive": 1}, "val": {"known": 3, "positive": 2}}
    }
