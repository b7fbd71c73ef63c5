"""The section on decisions: net benefit by threshold."""

from collections.abc import Sequence

from mmnar_lightning.evaluation.breakdown import DecisionCurve, NetBenefit
from mmnar_lightning.report import style
from mmnar_lightning.report.page import curves, words
from mmnar_lightning.report.page.blocks import Block, Listing, Note, Picture, Pictures, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun

TITLE = "Whether it helps to decide"
MODEL, ALL, NONE = "the model", "treat all", "treat none"


def decisions(run: PageRun) -> Section:
    """The net benefit of acting on the final prediction, beside that of treating all or none.

    Args:
        run: of the page.

    Returns:
        The section; its blocks are empty for results of an earlier schema.
    """
    found = run.results.net_benefit
    if found is None:
        return Section("decisions", TITLE)
    drawn = {task: curve for task, curve in found.items() if curve.points}
    if not drawn:
        return Section("decisions", TITLE, [Note("Every task is masked.")])
    blocks: list[Block] = [
        Text(
            "Net benefit is the share of true positives, less that of false positives at the odds of the threshold: "
            "to treat from a risk of 10 % on is to hold a missed positive nine times as bad as a needless "
            "treatment. The model is worth using at thresholds at which it is above both other lines. Thresholds that "
            "would single out few rows are left out."
        ),
        Pictures([_picture(task, curve, f"decisions-{number}") for number, (task, curve) in enumerate(drawn.items())]),
        Listing([_sentence(task, curve) for task, curve in drawn.items()]),
    ]
    blocks += [_table(task, curve) for task, curve in drawn.items()]
    return Section("decisions", TITLE, blocks)


def _picture(task: str, curve: DecisionCurve, name: str) -> Picture:
    points = _until_zero(curve.points)
    places = [point.threshold for point in points]
    model = [_value(point) for point in points]
    treat_all = [point.treat_all.value or 0.0 for point in points]
    series = {MODEL: (places, model), ALL: (places, treat_all), NONE: (places, [0.0] * len(places))}
    ends = [
        (value if point.model.low is None else point.model.low, value if point.model.high is None else point.model.high)
        for point, value in zip(points, model, strict=True)
    ]
    lower, upper = zip(*ends, strict=True)
    title = f"{style.words(task)}: net benefit by threshold, with its 95 % interval"
    bands = {MODEL: (lower, upper)}
    limits = (min(-0.01, *lower), 1.1 * max(0.01, *upper, *treat_all))
    return Picture(title, curves.lines(series, "threshold", "net benefit", name, title, bands=bands, limits=limits))


def _until_zero(points: Sequence[NetBenefit]) -> list[NetBenefit]:
    """The points up to the first from which on the model has no benefit: the rest of the axis is empty."""
    last = max((place for place, point in enumerate(points) if _value(point) > 0), default=0)
    return list(points[: last + 2])


def _value(point: NetBenefit) -> float:
    return point.model.value or 0.0


def _sentence(task: str, curve: DecisionCurve) -> str:
    useful = [
        f"{point.threshold:.0%}" for point in curve.points if _value(point) > max(point.treat_all.value or 0.0, 0.0)
    ]
    if not useful:
        return f"{style.words(task)}: at no threshold that is shown is the model above both."
    return f"{style.words(task)}: the model is above both at {words.joined(useful)}."


def _table(task: str, curve: DecisionCurve) -> Table:
    rows = [
        [f"{point.threshold:.0%}", words.score(point.model), words.score(point.treat_all)] for point in curve.points
    ]
    return Table(
        f"{style.words(task)}: net benefit by threshold, with 95 % intervals",
        ["threshold", MODEL, ALL],
        rows,
        folded=True,
    )
