"""What is printed of a cohort, of a rectifier at its target, and of a blend."""

import polars as pl

from data_modules.databases.eicu.hospitals import presence_by_hospital
from mmnar_lightning.evaluation.results import BlendScores, Gain, Score, TaskScores
from mmnar_lightning.evaluation.results_json import to_json
from mmnar_lightning.report.cohort import show_cohort, show_presence
from mmnar_lightning.report.public import public
from mmnar_lightning.report.tables import show_blend, show_gains, show_part_gains
from tests.helpers.results import cell_of, results_of


def counts_of(**hospitals: tuple[int, int]):
    """Counts of a manifest from rows, and rows with labs, by hospital; `h1234=(20, 5)`."""
    ids = [int(name[1:]) for name, (rows, _) in hospitals.items() for _ in range(rows)]
    labs = [number < there for rows, there in hospitals.values() for number in range(rows)]
    return presence_by_hospital(pl.DataFrame({"hospital_id": ids, "present/labs": labs}), ["labs"])


def reported(capsys, counts, min_count):
    """The header and the cells of each line that is printed."""
    show_presence(counts, min_count)
    printed = capsys.readouterr().out
    assert "1234" not in printed, "a hospital's id"
    lines = [line.strip("┃│ ").replace("┃", "│").split("│") for line in printed.splitlines() if line[0] in "┃│"]
    return [[cell.strip() for cell in line] for line in lines]


def test_presence_is_reported_by_hospital_largest_first_and_the_small_together(capsys):
    assert reported(capsys, counts_of(h1234=(40, 10), h2=(50, 40), h3=(9, 9), h4=(9, 0), h5=(9, 6)), 10) == [
        ["modality", "hospitals that have it", "1", "2", "3 others"],
        ["rows", "", "50", "40", "27"],
        ["labs", "< 10", "80%", "25%", "56%"],
    ]


def test_small_cells_and_those_they_follow_from_are_masked_and_hospitals_of_few_rows_are_not_reported_alone(capsys):
    hospitals = {"h1234": (90, 45), "h5": (80, 40), "h3": (70, 35), "h2": (19, 19)}
    assert reported(capsys, counts_of(**hospitals), 20)[1:] == [
        ["rows", "", "90", "80", "masked", "masked"],
        ["labs", "< 20", "50%", "50%", "masked", "masked"],
    ]
    assert reported(capsys, counts_of(**{**hospitals, "h5": (80, 3)}), 20)[1:] == [
        ["rows", "", "90", "80", "masked", "masked"],
        ["labs", "< 20", "50%", "masked", "masked", "masked"],
    ]


def test_no_more_than_eight_hospitals_are_reported_alone(capsys):
    header, rows, labs = reported(capsys, counts_of(**{f"h{number}": (30 + number, 15) for number in range(12)}), 10)
    assert header[2:] == [*map(str, range(1, 9)), "4 others"]
    assert rows[2:] == [str(41 - number) for number in range(8)] + [str(30 + 31 + 32 + 33)]
    assert (labs[2], labs[-1]) == ("37%", "48%")


def cohort_reported(capsys, left, patterns):
    """The rows and subjects after each rule, and the rows of each pattern, as they are printed."""
    attrition = [{"rule": f"rule {place}", "rows": rows, "subjects": subjects} for place, (rows, subjects) in left]
    cells = [{"label": label, "present": "", "rows": rows} for label, rows in patterns.items()]
    show_cohort({"attrition": attrition, "counts": {}, "modalities": [], "patterns": cells}, 10)
    lines = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    found = [[cell.strip() for cell in line] for line in lines]
    return [line[1:] for line in found if line[0].startswith("rule")], [line[-1] for line in found[len(left) :]]


def test_a_step_that_excludes_few_rows_or_subjects_is_masked(capsys):
    left = list(enumerate([(200, 150), (197, 149), (140, 100), (120, 98), (112, 90), (106, 85), (100, 80)]))
    shown, patterns = cohort_reported(capsys, left, {"11": 60, "10": 40})
    masked = ["masked", "masked"]
    assert shown == [masked, ["197", "149"], ["140", "100"], masked, ["112", "90"], masked, ["100", "80"]]
    assert patterns == ["60", "40"]


def test_a_pattern_of_few_rows_is_masked_with_the_one_it_follows_from(capsys):
    assert cohort_reported(capsys, [(0, (100, 80))], {"11": 50, "10": 43, "01": 7})[1] == ["50", "masked", "masked"]


def compared(count: int, **others):
    """Results whose metrics are 0.6 before and 0.7 after a rectifier."""
    scores = {
        name: {
            "death": TaskScores(all=cell_of({"count": count, **dict.fromkeys(SHOWN, vars(one(value)))}), patterns={})
        }
        for name, value in (("tasks", 0.6), ("rectified", 0.7), ("carried", 0.65))
    }
    gains = {
        name: {"death": gain_of(count, value)}
        for name, value in (("rectified_gain", 0.1), ("carried_gain", -0.00004), ("recalibrated_gain", 0.02))
    }
    return results_of(**{**scores, **gains, **others})


SHOWN = ("auroc", "brier", "calibration_error")


def one(value: float) -> Score:
    return Score(value=value, low=value - 0.01, high=value + 0.01, num_defined=100, method="bootstrap")


def gain_of(count: int, value: float) -> Gain:
    shown = {"auroc": one(value), "brier": one(value), "calibration_error": one(value)}
    return Gain(count=count, positives=count // 2, subjects=count, average_precision=one(0.0), **shown)


def gains_reported(capsys, results, show=show_gains):
    show(public(results, 10))
    lines = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line][:2] for line in lines]


def test_each_rectifier_has_a_line_and_its_difference_one_below_it(capsys):
    assert gains_reported(capsys, compared(40)) == [
        ["no rectifier", "0.60 (0.59 to 0.61)"],
        ["one offset for all"],
        ["difference", "+0.0200 (+0.0100 to +0.0300)"],
        ["fitted at the target", "0.70 (0.69 to 0.71)"],
        ["difference", "+0.1000 (+0.0900 to +0.1100)"],
        ["fitted at the source", "0.65 (0.64 to 0.66)"],
        ["difference", "+0.0000 (-0.0100 to +0.0100)"],
    ]
    alone = gains_reported(capsys, compared(40, carried=None, carried_gain=None, recalibrated_gain=None))
    assert [line[0] for line in alone] == ["no rectifier", "fitted at the target", "difference"]
    source = compared(40, carried=None, carried_gain=None, checkpoint={"rectifier": "source"})
    assert gains_reported(capsys, source)[3][0] == "fitted at the source"


def test_differences_of_few_rows_are_masked_and_those_of_no_rectifier_are_not_printed(capsys):
    assert gains_reported(capsys, compared(9)) == []
    assert gains_reported(capsys, compared(40, rectified_gain=None)) == []


def blended(count: int, **others):
    """Results of a network at 0.7 after its rectifier, trees at 0.8 and their blend at 0.75."""
    cells = {
        value: cell_of({"count": count, **{name: vars(one(value)) for name in ("auroc", "average_precision", "brier")}})
        for value in (0.6, 0.7, 0.75, 0.8)
    }
    blend = BlendScores(
        tasks={"death": TaskScores(all=cells[0.75], patterns={})},
        trees={"death": cells[0.8]},
        blend_minus_network={"death": gain_of(count, 0.05)},
        network_minus_trees={"death": gain_of(count, -0.1)},
    )
    scores = {
        name: {"death": TaskScores(all=cells[at], patterns={})} for name, at in (("tasks", 0.6), ("rectified", 0.7))
    }
    return results_of(**{**scores, "blend": blend, **others})


def test_a_blend_has_a_table_of_network_trees_both_and_their_differences(capsys):
    lines = [
        ["network", "0.70 (0.69 to 0.71)"],
        ["boosted trees", "0.80 (0.79 to 0.81)"],
        ["blend", "0.75 (0.74 to 0.76)"],
        ["blend - network", "+0.0500 (+0.0400 to +0.0600)"],
        ["network - trees", "-0.1000 (-0.1100 to -0.0900)"],
    ]
    assert gains_reported(capsys, blended(40), show=show_blend) == lines
    before = gains_reported(capsys, blended(40, rectified=None), show=show_blend)
    assert before == [["network", "0.60 (0.59 to 0.61)"], *lines[1:]], "the network without a rectifier"


def test_a_blend_of_few_rows_is_masked_and_none_prints_nothing(capsys):
    assert gains_reported(capsys, blended(9), show=show_blend) == []
    assert gains_reported(capsys, blended(40, blend=None), show=show_blend) == []


def test_each_part_has_a_line_and_differences_of_few_rows_are_masked(capsys):
    parts = {"contrast": {"death": gain_of(40, 0.05)}, "bins": {"death": gain_of(9, -0.1)}}
    results = compared(40, diagnostics={"parts": to_json(parts)})
    lines = gains_reported(capsys, results, show=show_part_gains)
    assert lines == [["contrast", "+0.0500 (+0.0400 to +0.0600)"], ["bins", "too few rows"]]
    assert gains_reported(capsys, results_of(diagnostics={}), show=show_part_gains) == []
