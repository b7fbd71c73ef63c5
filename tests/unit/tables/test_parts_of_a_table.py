"""A table as jobs of an array: each runs one entry, the last writes the table, and the printed lines have them all."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from mmnar_lightning.commands import table
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.config.places import experiment_file
from mmnar_lightning.runs import folders, single
from mmnar_lightning.tables import declared, plan, work
from mmnar_lightning.tables.plan import Entry
from tests.helpers.tables import DECLARED, rows_of, store

LINE = re.compile(r"(?:MMNAR_OFFSET=(\d+) )?sbatch --array=0-(\d+) (\S+) table.name=small.yaml")


def entries_of(lines: list[str]) -> list[int]:
    """The entries that the jobs of printed lines run."""
    found = [LINE.search(line) for line in lines]
    return [int(line[1] or 0) + job for line in found if line for job in range(int(line[2]) + 1)]


@pytest.fixture
def trained(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The entries that are trained: each leaves the rows of a finished run, and nothing is fitted."""
    (workplace / "small.yaml").write_text(str({**DECLARED, "seeds": [0]}))
    planned = plan.make(declared.read(workplace / "small.yaml"), load(WORDS), WORDS)
    by_run: dict[Path, Entry] = {entry.runs[0]: entry for entry in planned.entries}
    found: list[str] = []

    def train(config: object) -> None:
        entry = by_run[Path(os.environ[folders.RUN_ID_VARIABLE])]
        found.append(entry.label)
        store(entry, rows_of(entry, 1.0))
        entry.outcome.unlink()

    monkeypatch.setattr(single, "train", train)
    monkeypatch.setattr(work, "refusal", lambda config: "")
    monkeypatch.setattr(work, "_check_cohorts", lambda entries: None)
    return found


WORDS = ["table.name=small.yaml", "evaluation.num_replicates=100"]


def test_the_job_that_finishes_last_writes_the_table(workplace: Path, trained: list[str], capsys) -> None:
    file = workplace / "runs" / "tables" / "small" / "table.csv"
    for part in (2, 0, 3, 1):
        assert not file.exists()
        words = [*WORDS, f"table.part={part}"]
        table.make_table(load(words), words)
    assert file.is_file()
    assert len(trained) == len(set(trained)) == 4
    said = capsys.readouterr().out
    assert [f"{left} entries are not finished" in said for left in (3, 2, 1, 0)] == [True, True, True, False]
    assert "sbatch" not in said
    before = file.read_bytes()
    table.make_table(load(WORDS), WORDS)
    assert entries_of(capsys.readouterr().out.splitlines()) == [0, 1, 2, 3]
    assert len(trained) == 4
    assert file.read_bytes() == before
    with pytest.raises(ConfigError, match=r"table.part=4: there are 4 entries, numbered from 0"):
        table.make_table(load([*WORDS, "table.part=4"]), [*WORDS, "table.part=4"])


@pytest.mark.parametrize("count", [1, 1000, 1001, 1002, 2002, 2301])
def test_the_printed_lines_have_every_entry_once_and_no_array_is_too_large(count: int) -> None:
    lines = table.arrays_of(count, WORDS)
    assert entries_of(lines) == list(range(count))
    assert all(int(LINE.search(line)[2]) <= 1000 for line in lines)
    assert len(lines) == -(-count // 1001)


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "part"), [(None, 7), ("1001", 1008)])
def test_the_job_script_adds_the_offset_of_its_array(workplace: Path, offset: str | None, part: int) -> None:
    (workplace / "srun").write_text('#!/bin/sh\necho "$@"\n')
    (workplace / "srun").chmod(0o755)
    (workplace / "setup.sh").write_text(f'PATH="{workplace}:$PATH"\n')
    given = {"SLURM_ARRAY_TASK_ID": "7", "MMNAR_SETUP": str(workplace / "setup.sh")}
    given |= {"MMNAR_OFFSET": offset} if offset else {}
    script = experiment_file("slurm/table.sbatch")
    done = subprocess.run(
        ["bash", str(script), *WORDS], env={**os.environ, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1:] == ["mmnar", "table", *WORDS, f"table.part={part}"]
