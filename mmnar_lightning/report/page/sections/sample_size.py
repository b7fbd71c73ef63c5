"""The section on the sample size: how many rows a model of this outcome needs."""

from mmnar_lightning.metrics.sample_size import cox_snell_of, max_cox_snell, minimum_rows, most_parameters
from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Listing, Note, Section, Table, Text
from mmnar_lightning.report.page.inputs import PageRun
from mmnar_lightning.report.page.sections.about import final

PARAMETERS = (10, 30, 100)
"""Numbers of coefficients for which the rows are given."""
LEAST_R2 = 1e-4
"""Below it the criteria ask for more rows than any database has."""


def sample_size(run: PageRun) -> Section:
    """The smallest number of train rows by the criteria of Riley and others, beside the rows of this run.

    Args:
        run: of the page.

    Returns:
        The section.
    """
    rows, sentences = [], []
    for task, scores in run.results.scores[final(run.results)].items():
        cell = scores.all
        if cell.count is None or not cell.positives or cell.auroc is None or cell.auroc.value is None:
            sentences.append(f"{task}: masked or undefined.")
            continue
        prevalence, auroc = cell.positives / cell.count, cell.auroc.value
        expected = cox_snell_of(max(auroc, 0.5), prevalence)
        if expected < LEAST_R2:
            sentences.append(f"{task}: with an AUROC of {auroc:.2f} no number of rows is enough.")
            continue
        needed = [minimum_rows(count, prevalence, expected) for count in PARAMETERS]
        share = f"{expected:.3f} of at most {max_cox_snell(prevalence):.2f}"
        rows.append([task, f"{prevalence:.1%}", f"{auroc:.2f}", share, *(f"{own.rows:,}" for own in needed)])
        sentences.append(_carried(run, task, prevalence, expected))
    header = ["task", "prevalence", "AUROC", "R² of Cox and Snell", *(f"{count} coefficients" for count in PARAMETERS)]
    text = (
        "The three criteria of Riley and others (Statistics in Medicine 38:1276, 2019; BMJ 368:m441, 2020) for a "
        "logistic regression: shrinkage of at least 0.9, optimism of Nagelkerke's R² of at most 0.05, and an overall "
        "risk known within 0.05. Prevalence and AUROC are those of the test rows; R² follows from them if logits are "
        "normal in both classes (Statistics in Medicine 40:859, 2021)."
    )
    blocks: list[Block] = [Text(text)]
    blocks += [Table("Train rows that are needed", header, rows)] if rows else []
    blocks += [Listing(sentences), Note(_caution(run))]
    return Section("sample-size", "Whether there are enough rows", blocks)


def _carried(run: PageRun, task: str, prevalence: float, expected: float) -> str:
    train = None if run.cohort is None else run.cohort.splits.get(task, {}).get("train")
    if train is None or train.rows is None:
        return f"{task}: the number of train rows is not known here."
    most = most_parameters(train.rows, prevalence, expected)
    return (
        f"{task}: the {train.rows:,} train rows ({words.number(train.positives)} positive) carry a regression of at "
        f"most {most:,} coefficient{'' if most == 1 else 's'}."
    )


def _caution(run: PageRun) -> str:
    widths = {} if run.cohort is None else {name: width for name, width in run.cohort.widths.items() if width}
    columns = "; ".join(f"{name} has {width:,} columns" for name, width in widths.items())
    return (
        f"{columns + '. ' if columns else ''}The criteria are for regressions without penalty. A penalised model or a "
        "network has no such number of coefficients, and the criteria are then a lower bound of what is wise."
    )
