"""What every test may ask for."""

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# Several test processes share the cores; OpenMP threads that wait for each other would spend most of the time spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
import pytest

from data_modules.simulate import latent
from data_modules.simulate.config import SimulateConfig
from mmnar_lightning.report import figures

# Under nohup SIGHUP is ignored, also by the programs that tests start and send it to.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

DEMO = "mimic-iv-demo"
SIZES: dict[str, Any] = {"databases": ["mimic_iv", "eicu"], "subjects": 1, "seed": 0, "images": False}
"""Settings of a release that are none of its world."""


def demo_folder(name: str) -> Path:
    """The folder of an open demo, or a skip that says where it was looked for."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for base in filter(None, (os.environ.get("MMNAR_DEMO_DATA"), str(beside))):
        if (Path(base) / name).is_dir():
            return Path(base) / name
    pytest.skip(f"the open demo {name} is not in MMNAR_DEMO_DATA nor in {beside}")


@pytest.fixture(scope="session")
def mimic_demo() -> Path:
    """Folder of the open MIMIC-IV demo (hosp/, icu/)."""
    return demo_folder(DEMO)


@pytest.fixture(scope="session")
def mimic_demo_roots(mimic_demo: Path) -> str:
    """The demo, with its rebuilt chartevents as a second root."""
    return f"{mimic_demo}:{mimic_demo / 'reconstructed_from_meds'}"


def write_custom_cohort(folder: Path, num_subjects: int = 120, seed: int = 0) -> Path:
    """A small cohort that obeys docs/cohort.md: two modalities, two tasks that they predict."""
    generator = np.random.default_rng(seed)
    rows_of = generator.integers(1, 4, num_subjects)
    subject = np.repeat(np.arange(num_subjects), rows_of)
    num_rows = len(subject)
    health = generator.normal(size=num_rows)
    seen = generator.random(num_rows) < 1 / (1 + np.exp(-health))
    table = health[:, None] + generator.normal(size=(num_rows, 5))
    pl.DataFrame(
        {
            "row_id": np.arange(num_rows),
            "subject_id": [f"s{number:04d}" for number in subject],
            "label/first": health + generator.normal(size=num_rows) > 0.3,
            "label/second": pl.Series(health > 0.8).set(pl.Series(generator.random(num_rows) < 0.1), None),
            "present/table": [True] * num_rows,
            "present/vectors": seen,
        }
    ).write_parquet(_made(folder) / "cohort.parquet")
    columns = {f"c{column}": table[:, column] for column in range(table.shape[1])}
    pl.DataFrame({"row_id": np.arange(num_rows), **columns}).write_parquet(
        _made(folder / "modalities" / "table") / "table.parquet"
    )
    vectors = (health[:, None] + generator.normal(size=(num_rows, 8))).astype(np.float32)
    vectors[~seen] = np.nan
    np.save(_made(folder / "modalities" / "vectors") / "vectors.npy", vectors)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def custom_cohort(tmp_path: Path) -> Path:
    """A folder that someone else might have written."""
    return write_custom_cohort(tmp_path / "given")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in, with nothing of this machine's environment that they read."""
    for name in ("MIMIC_ROOT", "EICU_ROOT", "COHORT", "WANDB_API_KEY", "MMNAR_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def eicu_demo() -> Path:
    """Folder of the open eICU demo."""
    return demo_folder("eicu-demo")


@pytest.fixture(scope="session")
def eicu_demo_roots(eicu_demo: Path) -> str:
    """The demo, with its rebuilt lab and vitalPeriodic as a second root."""
    return f"{eicu_demo}:{eicu_demo / 'reconstructed_from_yaib'}"


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_disks() -> Iterator[None]:
    """Write without waiting for the disk, since no test cuts the power: a run does so a hundred times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a file that is not open, as fsync does
        yield


@pytest.fixture(autouse=True, scope="session")
def one_process_simulates() -> Iterator[None]:
    """Simulate the release of a run in this process: new ones take as long to start as a thousand subjects to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmnar_lightning.runs.cohorts.usable_cores", lambda: 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def worlds_are_solved_once() -> Iterator[None]:
    """Solve the intercepts of a simulated world once for all releases of it: that takes as long as to draw one."""
    solve, solved = latent.solve, dict[bytes, latent.World]()

    def once(config: SimulateConfig, setting: latent.Setting = latent.MIMIC) -> latent.World:
        knobs = replace(config, **SIZES)
        key = pickle.dumps((knobs, setting))
        if key not in solved:
            solved[key] = solve(knobs, setting)
        return replace(solved[key], config=config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent, "solve", once)
        yield


@pytest.fixture(autouse=True)
def no_open_wandb_run() -> Iterator[None]:
    """End a W&B run that a test left open: a later test would log into it.

    An offline run also leaves in the environment that the client is offline, and its service: the trials that a later
    test starts would read both.
    """
    yield
    for name in ("WANDB_MODE", "WANDB_SERVICE"):
        os.environ.pop(name, None)
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish()


SLOW = (
    "tests/end_to_end/",
    "tests/distributed/",
    "tests/unit/simulate/",
    "tests/unit/benchmarks/test_mimic_code.py",
    "tests/unit/benchmarks/test_validation",
    "tests/unit/sweeps/",
    "tests/unit/cohorts/test_pretraining.py",
    "tests/unit/encoders/test_vector_store.py",
    "tests/unit/encoders/test_stage.py",
    "tests/unit/encoders/text/",
    "tests/unit/callbacks/",
    "tests/unit/baselines/",
    "tests/unit/encoders/image/test_stage.py",
    "tests/unit/databases/test_acts.py",
    "tests/unit/databases/test_left_out.py",
    "tests/unit/databases/test_faults_at_random.py",
    "tests/unit/databases/mimic_iv/test_deaths.py",
    "tests/unit/databases/mimic_iv/test_deletion_invariance.py",
    "tests/unit/databases/eicu/test_scores.py",
    "tests/unit/raw/test_broken_files.py",
    "tests/unit/raw/test_checksums.py",
    "tests/unit/raw/test_writes.py",
    "tests/unit/metrics/test_pattern.py",
    "tests/unit/metrics/test_diagnostics.py",
    "tests/unit/metrics/test_intervals.py",
    "tests/unit/rectifier/",
    "tests/unit/evaluation/test_predict.py",
    "tests/unit/losses/",
    "tests/unit/config/test_ignored.py",
    "tests/unit/config/test_renamed.py",
    "tests/unit/test_leave_one_out.py",
)
"""Tests that train, simulate, start processes or build whole cohorts; `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, by its place."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")


BLANK = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)
"""A PNG of one pixel."""
DRAWN = ("interval_plot", "reliability_plot", "offset_plot", "decision_plot", "subgroup_plot", "save")
PLOTS = {name: getattr(figures, name) for name in DRAWN}
"""What draws and saves the figures of a run."""


def _save_blank(_figure: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(BLANK)


@pytest.fixture(autouse=True, scope="session")
def blank_figures() -> Iterator[None]:
    """Do not draw the figures of whole runs, which take two thirds of a tiny one; those that ask for it draw them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PLOTS:
            patch.setattr(figures, name, lambda *_, **__: None)
        patch.setattr(figures, "save", _save_blank)
        yield


def draw_figures(patch: pytest.MonkeyPatch) -> None:
    """Draw and save figures after all."""
    for name, usual in PLOTS.items():
        patch.setattr(figures, name, usual)


@pytest.fixture
def rendered_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw and save figures after all."""
    draw_figures(monkeypatch)
