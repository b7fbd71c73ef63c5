"""docs/reliability.md: what was tried, what held and what failed."""

from collections.abc import Sequence

import polars as pl

KINDS = {
    "kill": "Kills at random moments",
    "damage": "Flipped bits and truncations",
    "input": "Bad inputs",
}
INTRO = """# Reliability

`make storm` kills every stage at random moments, damages every stored file and gives bad inputs, each followed by the
same command. It takes at most an hour, and a stopped one is resumed. This page is its output.

- **A kill** is held if the same command then ends with status 0 and leaves what an undisturbed one leaves, to the byte
  for files and to the last digit for results, and if neither processes nor partial folders are left. One in four is
  SIGTERM, one in four ends the first process alone, the others are SIGKILL to all.
- **Damage** is one flipped bit, or a cut at a random place. It is held if a command that reads the file names it, or
  ends with the results of an undisturbed one.
- **A bad input** is held if the command ends in words, without a traceback and without a cell, and the same command on
  the good input then leaves what it always leaves.
"""


def page(tried: pl.DataFrame) -> str:
    """The page.

    Args:
        tried: `kind`, `what`, `number`, `problem` (empty = held).

    Returns:
        Markdown.
    """
    parts = [INTRO, f"{counts(tried)}.\n"]
    for kind, title in KINDS.items():
        own = tried.filter(kind=kind)
        if own.height:
            parts.append(f"## {title}\n\n{_table(own, kind)}\n")
    failed = tried.filter(pl.col("problem") != "").sort("kind", "what", "number")
    if failed.height:
        rows = [[row["kind"], row["what"], str(row["number"]), row["problem"]] for row in failed.iter_rows(named=True)]
        parts.append(f"## Failed\n\n{_markdown(['kind', 'what', 'number', 'problem'], rows)}\n")
    return "\n".join(parts)


def counts(tried: pl.DataFrame) -> str:
    """Tried, held and failed in words.

    >>> counts(pl.DataFrame({"problem": ["", "a traceback"]}))
    '2 tried, 1 held, 1 failed'
    """
    held = int((tried["problem"] == "").sum())
    return f"{tried.height} tried, {held} held, {tried.height - held} failed"


def _table(own: pl.DataFrame, kind: str) -> str:
    groups = own.with_columns(what=pl.col("what").map_elements(_group, pl.String)) if kind == "damage" else own
    summed = groups.group_by("what", maintain_order=True).agg(
        pl.len().alias("tried"), (pl.col("problem") == "").sum().alias("held")
    )
    rows = [[what, str(tried), str(held), str(tried - held)] for what, tried, held in summed.iter_rows()]
    return _markdown([{"kill": "stage", "damage": "files", "input": "input"}[kind], "tried", "held", "failed"], rows)


def _group(file: str) -> str:
    """The kind of a stored file.

    >>> _group("own/cohorts/custom-1a2b/modalities/table/values.npy"), _group("fitted/custom/1/model/model.json")
    ('cohort', 'model folder')
    """
    for part, name in (("own/cohorts", "cohort"), ("own/emb", "embedding store"), ("/model/", "model folder")):
        if part in f"{file}/":
            return name
    return "checkpoint" if "/checkpoints/" in file else "other file of a run"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
