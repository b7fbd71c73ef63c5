"""The structured forms of eICU as sentences, one document per row of the cohort, for text encoders.

eICU has no free text. Its notes are rows with a path and a value, such as
`notes/Progress Notes/Physical Exam/Physical Exam/Constitutional/…/HR/HR Current` with `92`, which becomes
"Physical Exam, Constitutional, HR Current: 92."
"""

from collections.abc import Mapping

import polars as pl

TABLES: Mapping[str, tuple[str, str, str | None, str]] = {
    "admissionDx": ("Admission diagnosis", "admitdxpath", None, "|"),
    "pastHistory": ("Past history", "pasthistorypath", None, "/"),
    "physicalExam": ("Physical exam", "physicalexampath", "physicalexamtext", "/"),
    "note": ("Note", "notepath", "notetext", "/"),
}
"""Table -> heading, path column, value column, separator; in the order of the document."""

FORMS = (
    "admission diagnosis", "notes", "Progress Notes", "Procedure Notes", "Shared", "All Diagnosis", "Diagnosis",
    "Past History", "Organ Systems", "Physical Exam", "Vital Sign and Physiological Data", "Admission Page One",
    "Social History / Family History", "Review Of Systems",
)  # fmt: skip
"""Parts of paths that name the form instead of the finding."""
NAVIGATION = r"View and Save|View Options|Skip Screen|Include Rx|Obtain Options/Performed|Time-Out|Billing"
"""Paths about the use of the form."""
MAX_SENTENCES = 400
"""Maximum number of sentences per table in a document."""


def verbalise(tables: Mapping[str, pl.LazyFrame], rows: pl.DataFrame) -> pl.LazyFrame:
    """Join the known form entries of each row into one document.

    Args:
        tables: name in `TABLES` -> known entries: `row_id`, path and value.
        rows: `row_id`, `stay_id`, `prediction_offset_minutes`.

    Returns:
        `row_id`, `document_id` (the stay_id), `hours` (0: the document is made at the landmark), `text`.
    """
    parts = [_paragraph(tables[name], position, *TABLES[name]) for position, name in enumerate(TABLES)]
    texts = (
        pl.concat(parts)
        .group_by("row_id")
        .agg(pl.col("paragraph").sort_by("position").str.join("\n").alias("text"))
        .join(rows.lazy(), on="row_id")
    )
    return texts.select(
        "row_id", pl.col("stay_id").cast(pl.String).alias("document_id"), hours=pl.lit(0.0), text="text"
    )


def _paragraph(
    known: pl.LazyFrame, position: int, heading: str, path: str, value: str | None, separator: str
) -> pl.LazyFrame:
    """`row_id`, `position`, `paragraph`: the distinct sentences of a table in alphabetical order."""
    findings = known.filter(pl.col(path).is_not_null() & ~pl.col(path).str.contains(NAVIGATION))
    sentences = findings.select("row_id", sentence=sentence(path, value, separator)).filter(pl.col("sentence") != "")
    joined = sentences.unique().group_by("row_id").agg(pl.col("sentence").sort().head(MAX_SENTENCES).str.join(". "))
    return joined.select(
        "row_id",
        pl.lit(position).alias("position"),
        pl.format("{}: {}.", pl.lit(heading), "sentence").alias("paragraph"),
    )


def sentence(path: str, value: str | None, separator: str) -> pl.Expr:
    """Return a path as words, without parts that name the form or repeat, and the value unless the path contains it.

    >>> frame = pl.DataFrame({"path": ["notes/Progress Notes/Physical Exam/Physical Exam/Constitutional/HR/HR Current"],
    ...                       "value": ["92"]})
    >>> frame.select(sentence("path", "value", "/")).item()
    'Constitutional, HR, HR Current: 92'
    """
    parts = pl.col(path).str.split(separator).list.eval(pl.element().str.strip_chars())
    words = parts.list.eval(pl.element().filter(~pl.element().is_in(FORMS)))
    finding = words.list.unique(maintain_order=True).list.join(", ")
    if value is None:
        return finding.alias("sentence")
    bare = pl.col(value).str.strip_chars()
    squeezed = parts.list.eval(pl.element().str.replace_all(" ", ""))
    is_new = bare.is_not_null() & ~squeezed.list.contains(bare.str.replace_all(" ", ""))
    return pl.when(is_new).then(pl.format("{}: {}", finding, bare)).otherwise(finding).alias("sentence")
