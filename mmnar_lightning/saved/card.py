"""README.md of a stored model: what it predicts, for whom, how well, and its limits; public facts alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules import patterns, stage
from data_modules.vocabulary import TaskKind
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.results_json import to_json
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.report.cohort import LEFT, attrition_rows
from mmnar_lightning.report.formats import score_text
from mmnar_lightning.report.summary import MASKED, final, furthest
from mmnar_lightning.report.value_tables import HEADER, cells_of, final_values
from mmnar_lightning.saved.description import CARD, RESULTS, Description

LOADING = """```python
import mmnar_lightning

model = mmnar_lightning.load(".")  # this folder
found = model.predict(frame)  # a polars frame, a dict of tensors, or an opened cohort
found.frame(model.tasks)  # predictions, before and after the rectifier, with flags
```"""
PREDICTED: Mapping[TaskKind, str] = {
    "binary": "The probability of each outcome",
    "value": "The value of each task, in its units",
}
VALIDATED: Mapping[TaskKind, str] = {
    "binary": " (`mmnar evaluate run=... evaluation.elsewhere=carried`)",
    "value": "",
}
LIMITS = (
    "It was scored on the test rows of its own cohort; another hospital, year or coding practice needs a validation of "
    "its own{how}.",
    "A pattern of present modalities that is not listed above is flagged as `unseen_pattern`, values outside of the "
    "range of the training as `out_of_range`; neither kind of prediction was tested.",
    "Which modalities are present follows from decisions of clinicians. Where these change, the offsets of the "
    "patterns no longer hold.",
    "It is a research model, no medical device, and was not tested prospectively.",
)


def card(description: Description, manifest: Mapping[str, Any] | None = None, results: Results | None = None) -> str:
    """Write the card of a model.

    Args:
        description: of the model.
        manifest: of the cohort that it was trained on; None leaves out the cohort.
        results: of the run, public; None before its evaluation.

    Returns:
        Markdown.
    """
    sections = {
        "What it predicts": _predicts(description),
        "For whom": _cohort(description, manifest),
        "Inputs": _inputs(description),
        "How well": _scores(results),
        "Limits": [f"- {line.format(how=VALIDATED[description.task_kind])}" for line in LIMITS],
        "Terms of use": [description.terms],
        "Load and predict": [LOADING],
        "Made with": [", ".join(f"{name} {version}" for name, version in description.versions.items())],
    }
    text = [f"# {description.experiment}, run {description.run_id}"]
    for title, lines in sections.items():
        text += ["", f"## {title}", "", *lines]
    return "\n".join(text) + "\n"


def write_card(folder: Path, manifest: Mapping[str, Any] | None, results: Results | None) -> None:
    """Write README.md and the public results into a model folder, and record their checksums there.

    Args:
        folder: of the model.
        manifest: as of `card`.
        results: as of `card`.
    """
    text = card(Description.load(folder), manifest, results)
    (folder / CARD).write_text(text, encoding="utf-8")
    if results is not None:
        stage.write_json(folder / RESULTS, to_json(results))
    stage.seal(folder)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]


def _predicts(description: Description) -> list[str]:
    landmark = str(description.cohort_settings.get("landmark", "")).replace("_", " ")
    when = f" It predicts at: {landmark}." if landmark else ""
    source = "simulated subjects" if description.simulated else description.dataset
    kind = description.settings["baseline"]["name"]
    what = "the MMNAR model" if kind == "none" else f"the baseline {kind}"
    return [
        f"{PREDICTED[description.task_kind]}; {what}, trained on {source}.{when}",
        "",
        *(f"- {task.replace('_', ' ')} (`{task}`)" for task in description.tasks),
    ]


def _cohort(description: Description, manifest: Mapping[str, Any] | None) -> list[str]:
    if manifest is None:
        return [f"Cohort {description.cohort}."]
    releases = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    return [
        f"Cohort {description.cohort}{f', from {releases}' if releases else ''}. Rows that each rule leaves:",
        "",
        *_table(["rule", *LEFT], attrition_rows(manifest["attrition"], description.min_count)),
    ]


def _inputs(description: Description) -> list[str]:
    rows = [[f"`{entry.name}`", entry.kind, len(entry.columns) or "", entry.width] for entry in description.modalities]
    names = description.names
    listed = []
    for code in description.train_patterns:
        if code < 0:  # the hash of a pattern beyond 62 modalities
            continue
        label = patterns.label(code, len(names))
        present = [name for name, bit in zip(names, label, strict=True) if bit == "1"]
        listed.append(f"- `{label}`: {', '.join(present) or 'none'}")
    return [
        "Any of these may be absent.",
        "",
        *_table(["modality", "kind", "columns", "numbers per row or item"], rows),
        "",
        f"Patterns of present modalities that at least {description.min_count} subjects of the training had:",
        "",
        *(listed or ["(not listed for so many modalities)"]),
    ]


def _scores(results: Results | None) -> list[str]:
    if results is None:
        return ["Not evaluated."]
    simulated = " Simulated data: nothing follows from them for patients." if results.simulated else ""
    if results.values is not None:
        return _value_scores(results, simulated)
    names = [name.replace("_", " ") for name in METRICS]
    after = ", after the rectifier" if results.rectified is not None else ""
    return [
        f"Test rows{after}, 95 % intervals clustered by subject.{simulated} Cells of fewer than {results.masked_below} "
        "rows, positives or negatives are masked.",
        "",
        *_table(["outcome", "pattern", "rows (positive)", *names], _score_rows(results)),
    ]


def _value_scores(results: Results, simulated: str) -> list[str]:
    after = ", after the rectifier" if results.rectified_values is not None else ""
    rows = [
        [task, name, *cells_of(cell)]
        for task, found in final_values(results).items()
        for name, cell in found.cells.items()
    ]
    return [
        f"Test rows{after}, in the units of each task, 95 % intervals clustered by subject.{simulated} Cells of fewer "
        f"than {results.masked_below} rows are masked.",
        "",
        *_table(["task", "pattern", "rows", *HEADER], rows),
    ]


def _score_rows(results: Results) -> Iterator[list[str]]:
    chosen = furthest(final(results))
    for task, found in final(results).items():
        cells = {"all": found.all, **{pattern: found.patterns[pattern] for own, pattern in chosen if own == task}}
        for name, cell in cells.items():
            if cell.count is None:
                yield [task, name, MASKED, *[""] * len(METRICS)]
            else:
                yield [task, name, f"{cell.count} ({cell.positives})", *(score_text(cell.score(m)) for m in METRICS)]
