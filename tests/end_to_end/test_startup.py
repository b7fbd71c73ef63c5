"""What commands load, and the memory that a cohort takes, by processes of their own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.conftest import write_custom_cohort
from tests.end_to_end.test_cli import PROGRAM

HEAVY = {
    "torch", "torchvision", "lightning", "torchmetrics", "transformers", "timm", "sklearn", "matplotlib", "wandb",
}  # fmt: skip
"""What is only needed for a model, its scores and its figures."""
PEAK_MB = 350
"""Most that `mmnar cohort` may take on the MIMIC-IV demo."""
MEASURED = """
import json, os, resource, subprocess, sys
done = subprocess.run(json.loads(sys.argv[1]), check=False)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(done.returncode)
"""
"""Runs a command and prints the peak of its memory in MB. A process of this size would count as the command's own."""


def loaded(words: Sequence[str], place: Path, environment: Mapping[str, str] | None = None) -> set[str]:
    """Modules that a command loads, by the interpreter's own account; processes that it starts included."""
    own = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"} | (environment or {})
    done = subprocess.run([PROGRAM, *words], cwd=place, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + re.sub(r"(?m)^import time:.*\n", "", done.stderr)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A release that `mmnar simulate` writes, and what that loads; two chunks, so that it starts processes."""
    place = tmp_path_factory.mktemp("simulated")
    knobs = ["simulate.subjects=501", "simulate.images=false", "simulate.databases=[mimic_iv]"]
    return place / "release", loaded(["simulate", "out=release", *knobs], place)


def test_simulate_loads_neither_torch_nor_what_builds_on_it(release: tuple[Path, set[str]]) -> None:
    assert not release[1] & HEAVY
    assert release[1] >= {"polars", "numpy", "scipy"}, "the account shows what is loaded"


def test_doctor_loads_neither_torch_nor_what_builds_on_it(release: tuple[Path, set[str]], workplace: Path) -> None:
    found = loaded(["doctor"], workplace, {"MIMIC_ROOT": str(release[0])})
    assert not found & (HEAVY | {"scipy"})
    assert "rich" in found, "the account shows what is loaded"


@pytest.mark.parametrize("layer", ["", ",baselines/late_fusion"])
def test_a_cohort_loads_neither_torch_nor_what_builds_on_it_nor_the_simulator(
    layer: str, release: tuple[Path, set[str]], workplace: Path
) -> None:
    found = loaded(["cohort", f"experiment=mimic{layer}"], workplace, {"MIMIC_ROOT": str(release[0])})
    assert not found & (HEAVY | {"scipy"})
    assert found >= {"polars", "numpy"}, "the account shows what is loaded"
    assert list(workplace.glob("data/cohorts/*/cohort.parquet"))


def test_a_custom_cohort_loads_neither_torch_nor_what_builds_on_it(workplace: Path) -> None:
    write_custom_cohort(workplace / "given")
    for command in ("cohort", "doctor"):
        found = loaded([command, "dataset=custom"], workplace, {"COHORT": "given"})
        assert not found & (HEAVY | {"scipy"})
        assert "polars" in found, "the account shows what is loaded"


UNUSED = {
    "torchvision", "transformers", "timm", "sklearn", "pandas", "jinja2", "torchmetrics.text",
    "torchmetrics.functional", "scipy.signal", "scipy.stats", "scipy.optimize",
}  # fmt: skip
"""What a training without images, texts and scores of the test rows does not use; Lightning imports torchmetrics."""
TRAINED = ("train", "dataset=custom", "evaluate=false", "wandb.enabled=false", "trainer.max_epochs=1")


def test_a_training_loads_nothing_that_only_other_runs_use(workplace: Path) -> None:
    write_custom_cohort(workplace / "given")
    found = loaded(TRAINED, workplace, {"COHORT": "given"})
    assert list(workplace.glob("runs/custom/*/checkpoints/best.ckpt"))
    assert not found & UNUSED
    assert found >= {"torch", "lightning", "torchmetrics.metric", "scipy.special"}, "the account shows what is loaded"


FOREIGN = """
import sys
from lightning import Callback

class Whole(Callback):
    def __init__(self):
        raise ValueError(f"text {'torchmetrics.text' in sys.modules}")
"""


def test_what_the_user_names_finds_all_of_torchmetrics(workplace: Path) -> None:
    write_custom_cohort(workplace / "given")
    (workplace / "foreign.py").write_text(FOREIGN)
    words = [PROGRAM, *TRAINED, "callbacks=[{class: foreign.Whole}]"]
    own = os.environ | {"COHORT": "given", "PYTHONPATH": str(workplace)}
    done = subprocess.run(words, env=own, cwd=workplace, capture_output=True, text=True, check=False)
    assert "callbacks: foreign.Whole refuses args={}: text True" in " ".join(done.stdout.split()), done.stderr


@pytest.mark.demo
def test_the_cohort_of_the_demo_takes_little_memory(mimic_demo: Path, workplace: Path) -> None:
    words = json.dumps([PROGRAM, "cohort"])
    own = os.environ | {"MIMIC_ROOT": str(mimic_demo)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, words], env=own, cwd=workplace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(workplace.glob("data/cohorts/*/cohort.parquet"))
    peak = float(done.stdout.splitlines()[-1])
    assert 50 < peak < PEAK_MB
