"""The section on the training: learning curves."""

from collections.abc import Mapping

from mmnar_lightning.report import style
from mmnar_lightning.report.page import curves
from mmnar_lightning.report.page.blocks import Picture, Pictures, Section, Text
from mmnar_lightning.report.page.curves import Curve
from mmnar_lightning.report.page.inputs import PageRun

LOSSES = {"train/loss": "train, all terms", "val/loss": "validation, tasks alone"}
VAL_AUROC, VAL_R2 = "val/auroc/", "val/r2/"


def training(run: PageRun) -> Section:
    """How losses and validation scores went from epoch to epoch.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    title = "How it learned"
    if not run.epochs:
        text = (
            "This page stands for the runs of a protocol together; each of them has its own page."
            if run.results.protocol is not None
            else "This method is fitted at once, and has no epochs."
        )
        return Section("training", title, [Text(text)])
    metric = "R²" if run.results.values is not None else "AUROC"
    prefix = VAL_R2 if run.results.values is not None else VAL_AUROC
    tasks = {f"{prefix}{task}": style.words(task) for task in run.results.task_names}
    drawn = {
        "Loss by epoch": (_curves(run.epochs, LOSSES), "loss", "losses"),
        f"{metric} of the validation split by epoch": (_curves(run.epochs, tasks), metric, "val-score"),
    }
    best = (run.results.checkpoint or {}).get("epoch")
    pictures = [
        Picture(caption, curves.lines(found, "epoch", value, name, caption, marked=best))
        for caption, (found, value, name) in drawn.items()
        if found
    ]
    chosen = "" if best is None else f" The vertical line is epoch {best}, whose weights were tested."
    return Section("training", title, [Text(f"Epochs are counted from 0.{chosen}"), Pictures(pictures)])


def _curves(epochs: Mapping[int, Mapping[str, float]], named: Mapping[str, str]) -> dict[str, Curve]:
    """The series that were logged."""
    found: dict[str, Curve] = {}
    for key, series in named.items():
        logged = {epoch: row[key] for epoch, row in epochs.items() if key in row}
        if logged:
            found[series] = (list(logged), list(logged.values()))
    return found
