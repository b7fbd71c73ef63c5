"""What is printed of a cohort."""

import polars as pl

from data_modules.databases.eicu.hospitals import presence_by_hospital
from mmnar_lightning.report.tables import show_presence


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


def test_presence_is_told_by_hospital_largest_first_and_the_small_together(capsys):
    assert reported(capsys, counts_of(h1234=(40, 10), h2=(50, 49), h3=(9, 9), h4=(9, 6)), 10) == [
        ["modality", "hospitals that have it", "1", "2", "2 others"],
        ["rows", "", "50", "40", "18"],
        ["labs", "< 10", "98%", "25%", "83%"],
    ]


def test_cells_of_few_rows_are_masked_and_hospitals_of_few_are_not_told_alone(capsys):
    assert reported(capsys, counts_of(h1234=(40, 19), h2=(19, 19), h3=(30, 0)), 20)[1:] == [
        ["rows", "", "40", "30", "< 20"],
        ["labs", "< 20", "< 20", "0%", "< 20"],
    ]


def test_no_more_than_eight_hospitals_are_told_alone(capsys):
    header, rows, labs = reported(capsys, counts_of(**{f"h{number}": (10 + number, 10) for number in range(12)}), 10)
    assert header[2:] == [*map(str, range(1, 9)), "4 others"]
    assert rows[2:] == [str(21 - number) for number in range(8)] + [str(10 + 11 + 12 + 13)]
    assert (labs[2], labs[-1]) == ("48%", "87%")
