"""Labs of both databases: the act counts when it happened, its result when it was stored, and a limit is a result."""

import math

import pytest

from tests.helpers.drawn import Drawn, eicu_labs, mimic_labs

BOTH = pytest.mark.parametrize("labs", [mimic_labs, eicu_labs])
LIMITS, LOST = "results that are limits", "results without a value"


def of(built, name, *parts):
    return [built.one[f"{name}/{part}"] for part in parts]


@BOTH
@pytest.mark.parametrize("stored", [-6, 0, 1 / 60, 40])
def test_a_lab_counts_when_it_was_drawn_and_its_result_when_it_was_stored(tmp_path, labs, stored):
    built = labs(tmp_path, Drawn(at=-6, stored=stored, number=1.5))
    known = float(stored <= 0)
    assert of(built, "creatinine", "ordered", "observed", "count", "censored") == [1, known, known, 0]
    assert of(built, "creatinine", "last", "max") == pytest.approx([1.5 if known else math.nan] * 2, nan_ok=True)
    assert of(built, "potassium", "ordered", "observed", "count") == [0, 0, 0]


@BOTH
def test_without_a_time_of_storage_a_result_is_known_when_it_was_drawn(tmp_path, labs):
    assert of(labs(tmp_path, Drawn(at=0, number=1.5)), "creatinine", "observed", "hours_since_last") == [1, 0]


@BOTH
def test_a_lab_drawn_after_the_landmark_is_no_act(tmp_path, labs):
    assert labs(tmp_path, Drawn(at=1 / 60, stored=-1, number=1.5)).rows[1] is None


@BOTH
@pytest.mark.parametrize(("text", "value"), [("<0.01", 0.01), ("LESS THAN 0.01", 0.01), (">25.0", 25), (">=25", 25)])
def test_a_censored_result_is_observed_with_its_limit(tmp_path, labs, text, value):
    built = labs(tmp_path, Drawn(name="troponin_t", text=text))
    assert of(built, "troponin_t", "last", "censored", "observed", "count") == pytest.approx([value, 1, 1, 1])
    assert built.counts == {LIMITS: {"troponin_t": 1}}


@BOTH
def test_the_share_of_limits_is_that_of_the_values(tmp_path, labs):
    results = [Drawn(at=-4, text="<0.01"), Drawn(at=-3, number=0.4), Drawn(at=-2, text="0.5"), Drawn(at=-1, text="?")]
    built = labs(tmp_path, *(Drawn(name="troponin_t", at=one.at, number=one.number, text=one.text) for one in results))
    assert of(built, "troponin_t", "count", "censored", "max") == pytest.approx([3, 1 / 3, 0.5])


@BOTH
def test_an_unreadable_result_is_observed_without_a_value_and_counted(tmp_path, labs):
    built = labs(tmp_path, Drawn(text="UNABLE TO REPORT"), Drawn(at=-2, text="5-10"), Drawn(at=-1, text="x", stored=1))
    assert of(built, "creatinine", "ordered", "observed", "count") == [1, 1, 0]
    assert math.isnan(built.one["creatinine/last"])
    assert built.counts == {LOST: {"creatinine unreadable": 2}}


@BOTH
def test_a_value_out_of_range_or_in_an_unknown_unit_is_observed_without_a_value_and_counted(tmp_path, labs):
    built = labs(tmp_path, Drawn(number=9999), Drawn(name="lactate", number=2, unit="furlong"))
    assert [of(built, name, "observed", "count") for name in ("creatinine", "lactate")] == [[1, 0]] * 2
    assert built.counts == {LOST: {"creatinine out of range": 1, "lactate unknown unit furlong": 1}}


@BOTH
@pytest.mark.parametrize("stored", [None, -1, 9])
@pytest.mark.parametrize("text", ["ND .  Not Done", "not performed", "CANCELLED"])
def test_what_was_not_done_is_ordered_and_never_observed(tmp_path, labs, stored, text):
    built = labs(tmp_path, Drawn(text=text, stored=stored))
    assert of(built, "creatinine", "ordered", "observed", "count") == [1, 0, 0]
    assert not built.counts


@BOTH
def test_the_last_revision_stored_by_the_landmark_holds(tmp_path, labs):
    revisions = [(-5, 9.9), (0, 4.1), (-2, 6.6), (1, 3.0)]
    built = labs(tmp_path, *(Drawn(name="potassium", stored=stored, number=number) for stored, number in revisions))
    assert of(built, "potassium", "count", "first", "last", "min", "max", "observed") == pytest.approx(
        [1, 4.1, 4.1, 4.1, 4.1, 1]
    )


@BOTH
def test_a_revision_without_a_value_does_not_take_the_value_before_it(tmp_path, labs):
    built = labs(tmp_path, Drawn(stored=-5, number=1.5), Drawn(stored=-4, text="UNABLE TO REPORT"))
    assert of(built, "creatinine", "count", "last", "observed") == [1, 1.5, 1]


@BOTH
def test_a_limit_may_be_revised_to_a_number(tmp_path, labs):
    built = labs(tmp_path, Drawn(stored=-5, text="<0.5"), Drawn(stored=-4, number=0.7))
    assert of(built, "creatinine", "count", "last", "censored") == pytest.approx([1, 0.7, 0])


@pytest.mark.parametrize(("labs", "last"), [(mimic_labs, 4.0), (eicu_labs, math.nan)])
def test_of_two_revisions_of_one_time_mimic_iv_takes_the_larger_and_eicu_neither(tmp_path, labs, last):
    built = labs(tmp_path, Drawn(stored=-5, number=4), Drawn(stored=-5, number=3))
    assert of(built, "creatinine", "last", "observed") == pytest.approx([last, 1], nan_ok=True)
    assert built.counts == ({} if labs is mimic_labs else {LOST: {"creatinine contradicted": 1}})


@BOTH
def test_a_unit_is_converted(tmp_path, labs):
    built = labs(tmp_path, Drawn(name="lactate", number=18.016, unit="mg/dL"), Drawn(name="pco2", number=5, unit="kPa"))
    assert [built.one["lactate/last"], built.one["pco2/last"]] == pytest.approx([2.0, 37.5031], rel=1e-4)


@pytest.mark.parametrize(
    ("number", "text", "comment", "value", "censored"),
    [
        (None, "___", "<0.01.  CTNT > 0.10 SUGGESTS ACUTE MI", 0.01, 1),
        (None, "", "GREATER THAN 25", 25, 1),
        (None, "0.3", "<0.01", 0.01, 1),
        (None, "___", "0.3", 0.3, 0),
        (0.4, "0.4", "<0.01", 0.4, 0),
        (0.4, ">0.4", "", 0.4, 1),
        (0.4, "GREATER THAN 0.4", "", 0.4, 1),
        (0.4, "more than usual", "<0.01", 0.4, 0),
        (0.4, "0.4", "NOT DONE", 0.4, 0),
    ],
)
def test_comments_of_mimic_iv_hold_a_result_that_has_no_number(tmp_path, number, text, comment, value, censored):
    lab = Drawn(name="troponin_t", number=number, text=text, cells=(("comments", comment),))
    built = mimic_labs(tmp_path, lab)
    assert of(built, "troponin_t", "last", "censored", "observed") == pytest.approx([value, censored, 1])


@pytest.mark.parametrize(("number", "value"), [(0.5, 50), (50, 50), (1, 100)])
def test_labs_of_mimic_iv_have_inspired_oxygen(tmp_path, number, value):
    assert mimic_labs(tmp_path, Drawn(name=50816, number=number)).one["fio2/last"] == value


def test_values_of_one_specimen_count_once_and_those_of_two_are_averaged(tmp_path):
    items = [Drawn(name=item, number=number) for item, number in ((50931, 100), (50809, 140))]
    other = Drawn(name=50931, number=200, cells=(("specimen_id", 5),))
    assert of(mimic_labs(tmp_path, *items, other), "glucose", "count", "last") == [1, 170]


def test_base_deficit_of_eicu_is_base_excess(tmp_path):
    built = eicu_labs(tmp_path, Drawn(name="Base Deficit", at=-3, number=3), Drawn(name="Base Excess", number=2))
    assert of(built, "base_excess", "count", "first", "last") == [2, 2, -3]


@pytest.mark.parametrize(
    ("name", "number", "text", "interface", "system", "value"),
    [
        ("crp", 4.1, "41", "mg/L", "mg/dL", 41),
        ("crp", 4.1, "41", "mg/dL", "mg/dL", 41),
        ("crp", 41, "41", "mg/L", "mg/dL", 41),
        ("crp", 4.1, "4.1", "mg/dL", "mg/dL", 41),
        ("crp", 4.1, "", "", "mg/dL", 41),
        ("crp", None, "4.1", "mg/dL", "", 41),
        ("crp", 4.1, "41", "drops", "mg/dL", 41),
        ("crp", 4.1, "41", "mg/L", "drops", 41),
        ("crp", 4.1, "41", "mg/dL", "mg/L", 4.1),
        ("crp", 400, "41", "mg/L", "mg/dL", 41),
        ("ionized_calcium", 1.2, "4.81", "mg/dL", "mmol/L", 1.2),
        ("ionized_calcium", 4.81, "1.2", "mmol/L", "mg/dL", 1.2),
        ("fio2", 40, "0.4", "%", "%", 40),
        ("fio2", 0.4, "40", "%", "%", 40),
    ],
)
def test_the_number_of_eicu_may_be_converted_and_its_text_not(tmp_path, name, number, text, interface, system, value):
    cells = (("labmeasurenamesystem", system),)
    built = eicu_labs(tmp_path, Drawn(name=name, number=number, text=text, unit=interface, cells=cells))
    assert built.one[f"{name}/last"] == pytest.approx(value, rel=1e-3)
