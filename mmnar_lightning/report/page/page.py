"""Writes the page: the sections in their order, by one template that escapes every text."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from mmnar_lightning.evaluation.comparison import Comparison
from mmnar_lightning.report import style
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Section
from mmnar_lightning.report.page.compact import share
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.sections.about import about
from mmnar_lightning.report.page.sections.checklist import checklist
from mmnar_lightning.report.page.sections.cohort import attrition, patterns
from mmnar_lightning.report.page.sections.comparing import comparing
from mmnar_lightning.report.page.sections.decisions import decisions
from mmnar_lightning.report.page.sections.groups import groups
from mmnar_lightning.report.page.sections.missingness import missingness
from mmnar_lightning.report.page.sections.repeating import repeating
from mmnar_lightning.report.page.sections.sample_size import sample_size
from mmnar_lightning.report.page.sections.scores import calibration, performance
from mmnar_lightning.report.page.sections.training import training
from mmnar_lightning.report.page.sections.values import numbers, offsets, value_groups

TEMPLATES = files(__package__) / "templates"


def write_page(runs: Sequence[PageRun], comparisons: Sequence[Comparison], program: Mapping[str, str]) -> str:
    """Write the page of one run, or of several.

    Args:
        runs: the first is described in full, the others beside it.
        comparisons: of several runs, as `mmnar compare` makes them.
        program: what writes the page: name -> version, and the commit.

    Returns:
        The HTML, which names no other file and no address.
    """
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = with_code
    look = _template("style.css")
    text = environment.get_template("page.html").render(
        title=title_of(runs),
        runs=[run.name for run in runs],
        program=program,
        style=Markup(look),  # a file of the package
        sections=[section for section in sections_of(runs, comparisons, program) if section.blocks],
    )
    return share(text, look)


def sections_of(
    runs: Sequence[PageRun], comparisons: Sequence[Comparison], program: Mapping[str, str]
) -> list[Section]:
    """The sections of the page, those without content included.

    Args:
        runs: as of `write_page`.
        comparisons: likewise.
        program: likewise.

    Returns:
        The sections in their order.
    """
    first, *others = runs
    if first.results.values is not None:
        return [
            about(first),
            attrition(first),
            numbers(first),
            value_groups(first),
            offsets(first),
            training(first),
            repeating(first, program),
        ]
    return [
        about(first),
        attrition(first),
        patterns(first),
        performance(first),
        calibration(first),
        decisions(first),
        groups(first),
        comparing(runs, comparisons),
        missingness(first, others),
        training(first),
        sample_size(first),
        checklist(first),
        repeating(first, program),
    ]


def title_of(runs: Sequence[PageRun]) -> str:
    """The experiment and what it predicts; of several runs, the first and that others are compared with it.

    Args:
        runs: as of `write_page`.

    Returns:
        The text.
    """
    found, others = runs[0].results, len(runs) - 1
    beside = f" compared with {others} other {'run' if others == 1 else 'runs'}" if others else ""
    return f"{found.experiment}{beside}: {words.joined([style.words(task) for task in found.task_names])}"


def with_code(text: str) -> Markup:
    """Return a text as HTML: escaped, and what stands between backticks as code.

    >>> with_code("run `mmnar show` & see")
    Markup('run <code>mmnar show</code> &amp; see')
    """
    parts = [escape(part) for part in re.split("`([^`]+)`", text)]
    return Markup("").join(Markup("<code>{}</code>").format(own) if n % 2 else own for n, own in enumerate(parts))


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
