"""How large a page is, and what becomes of its figures."""

import re
from dataclasses import replace
from itertools import product

import pytest

from mmnar_lightning.commands.report import report
from mmnar_lightning.config.compose import load
from mmnar_lightning.evaluation.results import Reliability, Results, TaskScores
from mmnar_lightning.report.page import matrix
from mmnar_lightning.report.page.compact import compact, share
from tests.helpers.pages import LITTLE, Page, cell, results, scores, write_run

TASKS, LARGEST = 3, 75_000
"""Tasks of the page, and bytes that each may take: forty of them make 3 MB."""
BINS = Reliability(
    mean_probability=[0.0123 + 0.0937 * place for place in range(10)],
    observed_rate=[0.0217 + 0.0911 * place for place in range(10)],
    count=[200] * 10,
)


def many_tasks() -> Results:
    """Results of many tasks and patterns, as of phenotypes, before and after the rectifier."""
    patterns = ["".join(marks) for marks in product("10", repeat=4)]
    cells = {name: replace(cell(900 - 40 * place, 200), reliability=BINS) for place, name in enumerate(patterns)}
    found = TaskScores(all=replace(cell(9_000, 2_000), reliability=BINS), patterns=cells)
    tasks = {f"phenotype_{number}": found for number in range(TASKS)}
    curves = results().net_benefit
    assert curves is not None
    (curve, *_) = curves.values()
    points = [replace(curve.points[0], threshold=(place + 1) / 20) for place in range(19)]
    others = LITTLE | {"net_benefit": dict.fromkeys(tasks, replace(curve, points=points)), "rectified": tasks}
    return results(tasks=tasks, modalities=["labs", "notes", "cxr", "ecg"], **others)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("many")
    folder = write_run(place / "runs" / "mimic" / "one", many_tasks())
    words = [f"paths.runs={place / 'runs'}", f"paths.data={place / 'data'}", f"run={folder}"]
    return report(load(words)).read_text(encoding="utf-8")


def test_a_page_of_many_tasks_takes_little_for_each(page: str) -> None:
    assert page.count("<svg") > 4 * TASKS
    assert len(page.encode()) < TASKS * LARGEST


def test_every_class_and_id_of_a_figure_is_there(page: str) -> None:
    found = Page(page)
    classes = {name for value in found.values("class") for name in value.split() if re.fullmatch(r"p\d+", name)}
    assert classes == set(re.findall(r"\.(p\d+)\{", page))
    assert len(classes) > 10
    named = {value[1:] for value in found.values("href")} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert named <= set(found.ids)
    assert not found.values("style")


def test_the_risks_of_the_first_tasks_alone_are_drawn() -> None:
    tasks = {f"task_{number}": scores() for number in range(8)}
    drawn = matrix.upset(tasks, ["structured", "cxr"], "upset", "Patterns")
    assert re.findall(r"risk: task (\d)", drawn) == list("012345")


GROUPS = """<svg viewBox="0 0 10.123456 5">
 <g id="a-0">
  <g id="a-1"><path d="M 0 0 L 1 0 z " style="fill: none"/></g>
  <g clip-path="url(#a-3)"><use href="#a-2" x="1.23456" y="-0.004999" style="stroke: red"/></g>
  <text style="font-size: 8px" transform="rotate(-0 3 4)">0.725123</text>
  <text transform="rotate(-60 3.14159 4)">b</text>
 </g>
 <defs><path id="a-2" d="M 1 1
L 2.55555 2
"/><clipPath id="a-3"><rect x="1" y="2.0001" width="3" height="4"/></clipPath></defs>
</svg>"""


def test_a_figure_keeps_what_is_drawn_and_named() -> None:
    assert compact(GROUPS) == (
        '<svg viewBox="0 0 10.12 5"><g clip-path="url(#a-3)"><use href="#a-2" x="1.23" y="-0" style="stroke: red"/></g>'
        '<text style="font-size: 8px">0.725123</text><text transform="rotate(-60 3.14 4)">b</text>'
        '<defs><path id="a-2" d="M1 1L2.56 2"/><clipPath id="a-3"><rect x="1" y="2" width="3" height="4"/></clipPath>'
        "</defs></svg>"
    )


def test_a_text_of_a_user_is_no_style() -> None:
    text = "<style>a{}</style><p>style=&#34;color: red&#34; id=&#34;x-1&#34;</p>"
    assert share(text, "a{}") == text


def test_factors_of_a_scale_are_not_rounded() -> None:
    text = '<svg><use transform="translate(1.23456 2) scale(0.0041 -0.0041)"/></svg>'
    assert compact(text) == text
