"""A cohort whose shards are uneven, and runs as processes of their own."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from torch._C._distributed_c10d import TCPStore

from tests.conftest import _made
from tests.helpers.forked import PATIENCE, Forked
from tests.helpers.paths import ROOT

SPLIT_ROWS = {"train": 203, "calibration": 160, "val": 41, "test": 40}
"""None of the evaluated splits falls into two or three equal parts."""
EVERY = 6
"""In val and test only every sixth row lacks `vectors`, and only such rows are positive in `rare`."""
TRAIN = [
    "dataset=custom",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "loader.batch_size=32",
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "model.fusion.dropout=0",
    "evaluation.num_replicates=100",
    "evaluation.figures=false",
]


def write_cohort(folder: Path, seed: int = 0) -> Path:
    """One row a subject; on two or three ranks only the first has a row without vectors, or a positive of `rare`.

    The outcome `common` depends on the pattern itself, so that there is an offset to be found.
    """
    generator = np.random.default_rng(seed)
    split = np.repeat(list(SPLIT_ROWS), list(SPLIT_ROWS.values()))
    place = np.concatenate([np.arange(count) for count in SPLIT_ROWS.values()])
    num_rows, scored = len(split), np.isin(split, ["val", "test"])
    health = generator.normal(size=num_rows)
    seen = np.where(scored, place % EVERY != 0, generator.random(num_rows) < 0.6)
    rare = np.where(scored, (place % EVERY == 0) & (place % (2 * EVERY) == 0), health > 0.5)
    common = health + 1.5 * seen + generator.normal(size=num_rows) > 0.5
    pl.DataFrame(
        {
            "row_id": np.arange(num_rows),
            "subject_id": [f"s{number:04d}" for number in range(num_rows)],
            "split": split,
            "label/common": common,
            "label/rare": pl.Series(rare).set(pl.Series(generator.random(num_rows) < 0.1), None),
            "present/table": [True] * num_rows,
            "present/vectors": seen,
        }
    ).write_parquet(_made(folder) / "cohort.parquet")
    table = health[:, None] + generator.normal(size=(num_rows, 5))
    columns = {f"c{column}": table[:, column] for column in range(table.shape[1])}
    pl.DataFrame({"row_id": np.arange(num_rows), **columns}).write_parquet(
        _made(folder / "modalities" / "table") / "table.parquet"
    )
    vectors = (health[:, None] + generator.normal(size=(num_rows, 8))).astype(np.float32)
    vectors[~seen] = np.nan
    np.save(_made(folder / "modalities" / "vectors") / "vectors.npy", vectors)
    return folder


class Started:
    """A command in a process group of its own; it and what it started end with it.

    Args:
        command: words after the interpreter.
        cwd: folder to run in.
        more: variables of its environment.
    """

    def __init__(self, command: Sequence[str], cwd: Path, more: Mapping[str, str] | None = None) -> None:
        hidden = ("WANDB_API_KEY", "MMNAR_RUN_ID", "MIMIC_ROOT", "EICU_ROOT", "COHORT", "LOCAL_RANK")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(more or {})}
        self.log = cwd / f"log-{time.monotonic_ns()}.txt"
        self.log.touch()
        self.process = Forked(command, cwd, environment, self.log)

    @property
    def output(self) -> str:
        """What it said until now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout: float = PATIENCE) -> int:
        """Exit status; whatever is left of the group is killed."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended within {timeout} s:\n{self.output[-3000:]}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the whole group."""
        self.process.kill()

    def until(self, happened: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait for something."""
        deadline = time.monotonic() + timeout
        while not happened():
            assert self.process.poll() is None, self.output[-3000:]
            assert time.monotonic() < deadline, self.output[-3000:]
            time.sleep(0.02)


def torchrun(ranks: int, *command: str) -> list[str]:
    """The words that start a command on several ranks of this machine."""
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *command]


class Ranks:
    """A command on several ranks of this machine, which find each other as those of torchrun do.

    Args:
        ranks: how many.
        command: words after the interpreter.
        cwd: folder to run in.
    """

    def __init__(self, ranks: int, command: Sequence[str], cwd: Path) -> None:
        # As torchrun's agent does, this process holds the store in which they meet, at a port that is free.
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        common = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port),
            "TORCHELASTIC_RUN_ID": "tests",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "GROUP_RANK": "0",
        }
        names = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
        self.started = [Started(command, cwd, common | own) for own in names]

    @property
    def output(self) -> str:
        """What all of them said, rank by rank."""
        return "\n".join(one.output[-4000:] for one in self.started)

    def wait(self, timeout: float = PATIENCE) -> list[int]:
        """Exit status of every rank; whatever is left is killed."""
        try:
            return [one.process.wait(timeout) for one in self.started]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended within {timeout} s:\n{self.output}") from None
        finally:
            for one in self.started:
                one.kill()
