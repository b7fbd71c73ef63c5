"""The patterns and the prevalence that a manifest shows."""

import polars as pl
import pytest

from data_modules import patterns
from data_modules.cohorts.presence import count_patterns, prevalence
from data_modules.errors import UserError

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


def test_two_patterns_with_one_hash_are_refused_and_wide_ones_are_written_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"m{place:02d}" for place in range(70)]
    shown = [[place % 2 == row for place in range(70)] for row in (0, 1)]
    flags = {f"present/{name}": [row[place] for row in shown] for place, name in enumerate(names)}
    rows = pl.DataFrame({"split": ["train", "val"], **flags})
    assert {entry["label"]: entry["pattern"] for entry in count_patterns(rows, names)} == {
        "10" * 35: (4**35 - 1) // 3,
        "01" * 35: 2 * (4**35 - 1) // 3,
    }
    monkeypatch.setattr(patterns, "BASES", (0, 0))
    flags = {f"present/{name}": [place == 65, place in {40, 65}] for place, name in enumerate(names)}
    with pytest.raises(UserError, match="two missingness patterns of this cohort have the same hash"):
        count_patterns(pl.DataFrame({"split": ["train", "val"], **flags}), names)
