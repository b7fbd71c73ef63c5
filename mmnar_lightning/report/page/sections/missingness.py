"""What the run says of missingness itself, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmnar_lightning.evaluation.results import Gain, Results
from mmnar_lightning.evaluation.results_json import from_json
from mmnar_lightning.metrics.diagnostics import OVERLAP
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Heading, Listing, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.sections.about import final
from mmnar_lightning.report.page.sections.cohort import described

MASK_ONLY = "mask_only"
PARTS = "A run with evaluation.inner_folds=5 and diagnostics.parts=true is trained once more without each part."


def missingness(run: PageRun, others: Sequence[PageRun]) -> Section:
    """How much of the score is missingness, whether patterns overlap, and how firm the conclusions on them are.

    Args:
        run: of the page.
        others: the runs beside it.

    Returns:
        The section.
    """
    blocks: list[Block] = [
        Heading("How much is missingness itself"),
        *_presence_alone(run, others),
        Heading("What the rectifier found"),
        *_rectifier(run.results),
        Heading("Whether presence can be predicted (overlap)"),
        *_overlap(run.results),
        Heading("How wrong an offset would have to be (tipping points)"),
        *_tipping_points(run.results),
        Heading("Which parts of the method paid"),
        *_parts(run.results),
    ]
    return Section("missingness", "What missingness does", blocks)


def _presence_alone(run: PageRun, others: Sequence[PageRun]) -> list[Block]:
    alone = next((other for other in others if other.baseline == MASK_ONLY), None)
    if run.baseline == MASK_ONLY:
        return [Text("This run reads presence alone, and no content: all of its score is missingness itself.")]
    if alone is None:
        return [
            Text(
                "Not measured here. A run of the layer baselines/mask_only reads which inputs are present and nothing "
                "else; `mmnar report runs=[THIS,THAT]` then says what share of the score it reaches."
            )
        ]
    sentences = []
    for task, scores in run.results.scores[final(run.results)].items():
        other = alone.results.scores[final(alone.results)].get(task)
        if scores.all.auroc is None or other is None or other.all.auroc is None:
            sentences.append(f"{task}: masked.")
        else:
            sentences.append(_share(task, scores.all.auroc.value, other.all.auroc.value))
    return [Text(f"{alone.name} reads which inputs are present and nothing else."), Listing(sentences)]


def _share(task: str, whole: float | None, alone: float | None) -> str:
    if whole is None or alone is None:
        return f"{task}: undefined."
    both = f"{task}: presence alone has an AUROC of {alone:.3f}, this run {whole:.3f}"
    if whole <= 0.5:
        return f"{both}, which is no better than chance."
    share = max(0.0, (alone - 0.5) / (whole - 0.5))
    return f"{both}: presence alone reaches {share:.0%} of what lies above chance (0.5)."


def _rectifier(found: Results) -> list[Block]:
    if found.rectifier is None:
        return [Text("This run has no rectifier, so the effect of a pattern beside the model was not estimated.")]
    sentences, rows = [], []
    for task, table in found.rectifier.items():
        sentences.append(_strength(task, table.strength))
        for label, entry in table.patterns.items():
            if entry.tau is None or entry.low is None or entry.high is None:
                continue
            rows.append(
                [
                    task,
                    described(label, found.modalities),
                    f"{entry.tau:+.2f} ({entry.low:+.2f} to {entry.high:+.2f})",
                    f"{math.exp(entry.tau):.2f}",
                    "of its parent" if entry.inherited else "its own",
                    words.counts(entry.count, entry.positives),
                ]
            )
    header = ["task", "pattern", "offset of the logit", "odds ratio", "estimate", "calibration rows (positive)"]
    caption = "Offset of each pattern, with its 95 % interval, before it is multiplied by the strength"
    return [Listing(sentences), Table(caption, header, rows, folded=True)]


def _strength(task: str, strength: float) -> str:
    if not strength:
        return (
            f"{task}: the offsets are not applied (strength 0), because on held-out calibration subjects they did not "
            "improve the log-loss by more than its error. Beside what the model knows, the pattern says nothing sure."
        )
    return f"{task}: the offsets are applied with strength {strength:.1f} (1 is whole)."


def _overlap(found: Results) -> list[Block]:
    assignment: Mapping[str, Any] | None = (found.diagnostics or {}).get("assignment")
    if not assignment:
        return [
            Text(
                "Not reported: the run has no assignment head, or a pattern is masked, from which these numbers would "
                "follow."
            )
        ]
    low, high = OVERLAP
    rows = [
        [name, _ends(own["auroc"]), _ends(own["outside_overlap"]), _overlap_words(own)]
        for name, own in assignment.items()
    ]
    header = ["input", "AUROC of its presence", f"rows nearly certain (below {low} or above {high})", "in words"]
    return [
        Text("How well the presence of an input is predicted from all other inputs, on test rows."),
        Table("Prediction of presence, with 95 % intervals", header, rows),
    ]


def _overlap_words(own: Mapping[str, Any]) -> str:
    share = own["outside_overlap"]["value"]
    if share is None:
        return "undefined"
    if share > 0.5:
        return "mostly decided by the other inputs: rows with and without it can hardly be compared"
    return "overlap for most rows" if share > 0.05 else "overlap for nearly all rows"


def _ends(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "undefined"
    ends = "" if score["low"] is None else f" ({score['low']:.2f} to {score['high']:.2f})"
    return f"{score['value']:.2f}{ends}"


def _tipping_points(found: Results) -> list[Block]:
    points: Mapping[str, Mapping[str, float | None]] = (found.diagnostics or {}).get("decision_tipping_point") or {}
    rows = [
        [task, described(label, found.modalities), *_shift(shift)]
        for task, own in points.items()
        for label, shift in own.items()
    ]
    if not rows:
        return [Text("No pattern may be shown.")]
    return [
        Text(
            "The error of a pattern's offset at which its predicted risk would equal that of all other rows. If an "
            "error of that size is plausible, do not conclude that the pattern is at higher or lower risk."
        ),
        Table(
            "Tipping points", ["task", "pattern", "error of the logit", "odds ratio", "now"], rows, folded=len(rows) > 8
        ),
    ]


def _shift(shift: float | None) -> list[str]:
    if shift is None:
        return ["none found", "", "the only pattern, or no such error"]
    return [f"{shift:+.2f}", f"{math.exp(shift):.2f}", "at higher risk" if shift < 0 else "at lower risk"]


def _parts(found: Results) -> list[Block]:
    parts: Mapping[str, Mapping[str, Any]] | None = (found.diagnostics or {}).get("parts")
    if not parts:
        return [Text(f"Not measured in this run. {PARTS}")]
    gains = {part: {task: from_json(Gain, own) for task, own in by_task.items()} for part, by_task in parts.items()}
    rows = [
        [part, *(words.score(own[task].auroc, "+.4f") if task in own else "masked" for task in found.tasks)]
        for part, own in gains.items()
    ]
    paid = [
        f"{part} for {task}"
        for part, own in gains.items()
        for task, gain in own.items()
        if gain.auroc.low is not None and gain.auroc.low > 0
    ]
    cost = [
        f"{part} for {task}"
        for part, own in gains.items()
        for task, gain in own.items()
        if gain.auroc.high is not None and gain.auroc.high < 0
    ]
    sentences = [
        f"Paid, with an interval above 0: {words.joined(paid)}." if paid else "No part has an interval above 0.",
        f"Cost, with an interval below 0: {words.joined(cost)}." if cost else "No part has an interval below 0.",
        "Two parts that can replace each other both show little.",
    ]
    caption = "AUROC with all parts minus without this one, on held-out rows of train and val, with 95 % intervals"
    return [Listing(sentences), Table(caption, ["part", *found.tasks], rows)]
