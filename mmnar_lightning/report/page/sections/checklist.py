"""The section on TRIPOD+AI: what this run says to each item, and what the authors must add.

Collins and others, TRIPOD+AI statement, BMJ 385:e078378, 2024: 27 items. The topics are named in words of our own.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.report import style
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.sections.about import landmark, method

NOTHING = "Nothing."


class Item(NamedTuple):
    """An item: its number, its topic, what this run says, and what is missing."""

    number: int
    topic: str
    says: str
    missing: str


def checklist(run: PageRun) -> Section:
    """The 27 items.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    items = [*_front(run), *_data(run), *_analysis(run), *_practice(run), *_findings(run), *_discussion(run)]
    rows = [[str(item.number), item.topic, item.says, item.missing] for item in items]
    text = (
        "A list for the authors of a paper on this run, by the 27 items of TRIPOD+AI (Collins and others, BMJ "
        "385:e078378, 2024). It does not replace the statement: read each item there."
    )
    caption = "TRIPOD+AI: what this run says, and what the authors add"
    header = ["item", "topic", "this run says", "the authors add"]
    return Section("tripod", "For a paper: TRIPOD+AI", [Text(text), Table(caption, header, rows, prose=True)])


def _front(run: PageRun) -> Sequence[Item]:
    found = run.results
    tasks = words.joined([style.words(name) for name in found.tasks])
    return [
        Item(1, "title", f"Development and internal evaluation of {method(run)} for {tasks}.", "The title itself."),
        Item(2, "abstract", "Its numbers: the sections above.", "An abstract by TRIPOD+AI for Abstracts."),
        Item(
            3,
            "background: care, intended users, known inequalities",
            NOTHING,
            "The decision that is to be supported, who takes it and when, models that exist, and inequalities in this "
            "disease and its care.",
        ),
        Item(
            4, "aims", f"To predict {tasks} {landmark(run)}; developed and evaluated.", "Why, and for which decision."
        ),
    ]


def _data(run: PageRun) -> Sequence[Item]:
    found = run.results
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    source = f"{words.database(found.dataset)}{', simulated' if found.simulated else ''} ({versions or 'no version'})."
    cohort = run.setting("cohort") or {}
    inputs = words.joined([style.words(name) for name in found.modalities])
    tasks = "; ".join(words.task(name, found.dataset, cohort) for name in found.tasks)
    ages = run.setting("cohort.min_age")
    eligible = "Section “From the records to the cohort”: every rule with its counts."
    return [
        Item(5, "sources of the data, and their dates", source, _dates(run)),
        Item(
            6,
            "setting, eligibility, treatments",
            eligible if ages is None else f"{eligible} At least {ages} years of age.",
            "Hospitals and wards; treatments that change the outcome, and how a user should read a risk under them.",
        ),
        Item(
            7,
            "preparation of the data",
            "Units and plausible ranges are fixed by the program, as its documents say; scales and vocabularies are "
            "fitted on train rows alone.",
            "Checks of quality at your site, and whether they differ between groups of people.",
        ),
        Item(8, "outcomes: definition, assessors, blinding", f"{tasks}.", "Who recorded them, and knowing what."),
        Item(
            9,
            "predictors: choice, definition, assessors",
            f"{inputs}; only what was known at the time of the prediction.",
            "Why these, and what a clinician would miss among them.",
        ),
        Item(
            10,
            "size of the study",
            "Section “Whether there are enough rows”.",
            "How the size came about; that all available rows were used is an answer.",
        ),
        Item(
            11,
            "missing data",
            "Whole inputs that are missing are modelled by their pattern, not imputed; values within a present input "
            "that were not measured are set to the train mean or flagged. Sections on patterns and missingness.",
            "Why inputs are missing where the model is to be used, and whether that is as in these records.",
        ),
    ]


def _dates(run: PageRun) -> str:
    years = run.setting("cohort.anchor_year_groups")
    stated = f"The years {years[0].split(' - ')[0]} to {years[-1].split(' - ')[-1]} were asked for. " if years else ""
    return f"{stated}Dates of accrual and of the end of follow-up; who is not in these records."


def _analysis(run: PageRun) -> Sequence[Item]:
    found = run.results
    fold = run.setting("evaluation.inner_folds")
    chosen = f"{fold} inner folds of train and val" if fold else "the val split"
    weighting = "focal loss" if (run.setting("objective.focal_gamma") or 0) > 0 else "none"
    updated = "none" if found.rectified is None else "offsets of patterns on the logit, fitted on calibration subjects"
    measures = words.joined([style.words(name) for name in METRICS])
    groups = "none" if found.groups is None else f"scores by {found.groups.by}, and within"
    return [
        Item(
            12,
            "analysis: division, models, tuning, heterogeneity, measures, updating",
            f"Subjects divided by a hash; {method(run)}; choices made on {chosen}; heterogeneity: {groups}; measures: "
            f"{measures}, with intervals clustered by subject; updating: {updated}.",
            "Why this kind of model; how many settings were tried before this run.",
        ),
        Item(13, "rare outcomes", f"Rows are neither drawn again nor left out; reweighting: {weighting}.", "Why."),
        Item(
            14,
            "fairness",
            "Scores by pattern of presence and, where the cohort has them, by group, with the largest gaps.",
            "Which groups of people matter here, and what was done about differences between them.",
        ),
        Item(
            15,
            "output",
            "A probability for each outcome; no threshold is chosen. Section “Whether it helps to decide”.",
            "Thresholds, if any, and why.",
        ),
        Item(
            16,
            "differences between training and evaluation",
            "None by design: one cohort, divided by subject."
            if found.target is None
            else "Another cohort: the target.",
            "Differences to the place where it is to be used.",
        ),
        Item(17, "ethics", NOTHING, "The approval, or why none was needed; the data use agreement."),
    ]


def _practice(run: PageRun) -> Sequence[Item]:
    return [
        Item(
            18,
            "funding, conflicts, protocol, registration, data, code",
            "Code and settings: section “How to repeat it”. The records cannot be shared by their users.",
            "Funding, conflicts of interest, protocol, registration, and where code and model lie.",
        ),
        Item(19, "patients and the public", NOTHING, "How they took part, or that they did not."),
    ]


def _findings(run: PageRun) -> Sequence[Item]:
    found = run.results
    updating = "No updating." if found.rectified is None else "Every score before and after the rectifier."
    return [
        Item(
            20,
            "participants: flow and characteristics",
            "The flow diagram; rows and positives by split.",
            "A table of characteristics by outcome and by group; length of follow-up.",
        ),
        Item(21, "numbers in each analysis", "Rows and positives beside every score.", NOTHING),
        Item(
            22,
            "the model itself",
            "The run's folder model/ predicts new rows without these data.",
            "Where it can be had, under which terms, or why not.",
        ),
        Item(
            23, "performance, also by group", "Sections on performance, calibration and groups.", "Figures of choice."
        ),
        Item(24, "updating", updating, NOTHING if found.rectified is None else "What it means for use elsewhere."),
    ]


def _discussion(run: PageRun) -> Sequence[Item]:
    flags = "Unseen patterns and values out of the training range are flagged in predictions (`mmnar predict`)."
    return [
        Item(25, "interpretation", "Section “What missingness does”, in numbers.", "What it means for patients."),
        Item(
            26,
            "limitations",
            "Simulated data."
            if run.results.simulated
            else "One database; presence reflects the practice of its clinicians.",
            "Representativeness, sample size, overfitting, missing data, and their effect on bias.",
        ),
        Item(
            27,
            "use: poor input, expertise, next steps",
            flags,
            "What a user does with a flag, what they must know, and the next study.",
        ),
    ]
