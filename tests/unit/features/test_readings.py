"""Results that are recorded as text, as laboratories write them."""

import polars as pl
import pytest

from data_modules.features import readings


def read(text, *expressions):
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    return frame.select(one.alias(str(number)) for number, one in enumerate(expressions)).row(0)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("<0.01", 0.01),
        ("<0.2.", 0.2),
        ("< .5", 0.5),
        (" > 1,000", 1000),
        ("> 1,234,567.5", 1_234_567.5),
        (">=500", 500),
        ("<= 4.5 mg/dL", 4.5),
        ("GREATER THAN 70000.  REFERENCE VALUES VARY WITH AGE", 70_000),
        ("less than 5", 5),
        ("Less  than or equal to 0.03", 0.03),
        ("MORE THAN 12", 12),
        ("below 0.10", 0.1),
        ("ABOVE 9", 9),
        ("<0.01.  CTNT > 0.10 ng/mL SUGGESTS ACUTE MI", 0.01),
    ],
)
def test_a_limit_is_its_number_and_no_plain_number(text, limit):
    assert read(text, readings.limit("text"), readings.plain("text")) == (limit, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,000", 1000), (".5", 0.5), ("5.", 5), (" 5.2 ", 5.2), ("-3", -3), ("- 3", None), ("+0.5", 0.5), ("0", 0)],
)
def test_a_text_that_is_a_number_is_that_number_and_no_limit(text, number):
    assert read(text, readings.limit("text"), readings.plain("text")) == (None, number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "___",
        "UNABLE TO REPORT",
        "5-10",
        "5 - 10",
        "10,00",
        "1,0000",
        "1.2.3",
        "3+",
        "5 of 9",
        "pH 7.4",
        "HEMOLYZED, 3.9 BEFORE",
        "LIMIT <0.01",
        "<",
        "less than detectable",
        "<-5",
        "UNDER REVIEW 5",
        "nan",
        "1e3",
    ],
)
def test_anything_else_is_neither(text):
    assert read(text, readings.limit("text"), readings.plain("text")) == (None, None)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("ND .  Not Done", True),
        ("NOT DONE", True),
        (" Test not performed", False),
        ("not performed. hemolyzed", True),
        ("Cancelled", True),
        ("nd", True),
        ("NDA", False),
        ("UNABLE TO REPORT", False),
        ("reviewed, not done again", False),
        ("5", False),
        (None, False),
    ],
)
def test_what_was_not_done_says_so_at_its_beginning(text, stated):
    assert read(text, readings.not_done(["text"])) == (stated,)


def test_one_of_several_texts_may_state_that_nothing_was_done():
    frame = pl.DataFrame({"value": ["___", None], "comments": ["Not done.", None]})
    assert frame.select(readings.not_done(["value", "comments"])).to_series().to_list() == [True, False]
