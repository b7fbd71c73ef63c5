"""What a W&B run holds, read from the .wandb file that an upload sends: `python -m benchmarks.wandb_layout RUN [RUN]`.

The folder of each run is a column of the table that is printed; docs/wandb.md has it of one run before and after the
layout of today.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.wandb_logs import OfflineRun

KIND = "/_type"
"""End of the key with the type of a table or image, whose other parts are keys of the file too."""
OWN = "_"
"""First character of W&B's own keys: step, time."""


def layout(run: OfflineRun) -> dict[str, str]:
    """Count what a run holds.

    Args:
        run: read from its folder.

    Returns:
        What is counted -> number, with names where they are few.
    """
    kinds = keys(run)
    tables, images = ([key for key, kind in kinds.items() if kind == named] for named in ("table-file", "image-file"))
    charts = [key for key, kind in kinds.items() if kind == ""]
    scores = [key for key in charts if key.startswith(("val/", "test/"))]
    cells = [key for key in scores if key.count("/") > 1]
    ours = [key for key in run.summary if not key.startswith(OWN)]
    return {
        "keys of the history": str(len(kinds)),
        "charts of a task or pattern": _by_metric(cells),
        "other charts": str(len(charts) - len(cells)),
        "charts of counts": str(len([key for key in cells if key.split("/")[1] in {"count", "positives"}])),
        "tables": _named(tables),
        "metrics with an interval": str(len(_with_interval(run, tables))),
        "figures": _named(images),
        "final scores in the summary": str(len([key for key in ours if key.startswith("final/")])),
        "best values in the summary": _named(sorted(run.best)),
        "artifacts": _named(f"{kind}: {len(names)} files" for kind, names in sorted(run.artifacts.items())),
    }


def keys(run: OfflineRun) -> dict[str, str]:
    """The keys that were logged -> type of what is no number, else empty."""
    logged = {key: value for step in run.history for key, value in step.items() if not key.startswith(OWN)}
    media = {key.removesuffix(KIND): str(kind) for key, kind in logged.items() if key.endswith(KIND)}
    parts = tuple(f"{key}/" for key in media)
    return {key: "" for key in logged if not key.startswith(parts)} | media


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Write layouts side by side, as a table of Markdown.

    >>> print(table({"old": {"tables": "3"}, "new": {"tables": "1"}}))
    |  | old | new |
    |---|---|---|
    | tables | 3 | 1 |
    """
    rows = list(next(iter(columns.values())))
    lines = [["", *columns], *([row, *(own[row] for own in columns.values())] for row in rows)]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|---" * (1 + len(columns)) + "|", *body])


def _with_interval(run: OfflineRun, tables: Sequence[str]) -> set[str]:
    """Names in the column `metric` of tables that have a lower end."""
    found: set[str] = set()
    for key in tables:
        own = run.table(key)
        if "metric" in own["columns"] and any(name.endswith("low") for name in own["columns"]):
            rows = [dict(zip(own["columns"], row, strict=True)) for row in own["data"]]
            found |= {row["metric"] for row in rows if row.get("before low") is not None}
    return found


def _by_metric(cells: Sequence[str]) -> str:
    metrics = [key.split("/")[1] for key in cells]
    named = [f"{metrics.count(name)} of {name}" for name in dict.fromkeys(metrics)]
    return f"{len(cells)}" + (f" ({', '.join(sorted(named))})" if named else "")


def _named(names: Iterable[str]) -> str:
    found = list(names)
    return f"{len(found)}" + (f" ({', '.join(found)})" if found else "")


def main() -> None:
    """Print the table of the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="+", help="folder with a .wandb file, for example runs/mimic/RUN/wandb")
    folders = parser.parse_args().run
    print(table({folder.parent.name or str(folder): layout(OfflineRun(folder)) for folder in folders}))


if __name__ == "__main__":
    main()
