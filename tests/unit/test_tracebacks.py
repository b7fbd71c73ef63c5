"""What a message of a defect withholds: what may be a cell of a record."""

import pytest

from mmnar_lightning.tracebacks import describe


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (KeyError(10001217), "KeyError: …"),
        (KeyError("Smith"), "KeyError: …"),
        (ValueError("could not convert 'O'Brien' of 3"), "ValueError: could not convert … of 3"),
        (ValueError('no end "Smith, John'), "ValueError: no end …"),
        (ValueError("2180-05-06 10:22:33.5 of subject 10001217"), "ValueError: … of subject …"),
        (ValueError("at 12/31/2180 or 2180-05-06T10:00"), "ValueError: at … or …"),
        (
            RuntimeError("(128, 4) and (5,) don't match at dim 1"),
            "RuntimeError: (128, 4) and (5,) don't match at dim 1",
        ),
    ],
)
def test_keys_quoted_words_dates_and_long_numbers_are_withheld_and_shapes_are_not(error: Exception, shown: str) -> None:
    assert describe(error).splitlines()[-1] == shown
