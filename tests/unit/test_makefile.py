"""Variables of make reach the program as they are given, and never run as a command of the shell or of make."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

VARIABLES = {
    "DATASET": ("train", "dataset="),
    "RESUME": ("train", "resume="),
    "DEVICES": ("train", "trainer.devices="),
    "SEED": ("train", "seed="),
    "SUBJECTS": ("train", "simulate.subjects="),
    "OUT": ("simulate", "out="),
    "SWEEP": ("sweep", "sweep.file="),
    "PROCESSES": ("sweep", "sweep.processes="),
    "TRIALS": ("sweep", "sweep.trials="),
    "TABLE": ("table", "table.name="),
    "MIMIC_ROOT": ("train", ""),
    "EICU_ROOT": ("train", ""),
    "COHORT": ("train", ""),
}
"""Variable -> a target that reads it, and the word that it becomes; none for variables of the environment."""
COMMANDS = ["'; touch CANARY; echo '", "; touch CANARY", "`touch CANARY`", "$(shell touch CANARY)", "$$(touch CANARY)"]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with the Makefile, and in place of the program one that records its words and environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    program = tmp_path / ".venv/bin/mmnar"
    program.parent.mkdir(parents=True)
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" "MIMIC_ROOT=$MIMIC_ROOT" "EICU_ROOT=$EICU_ROOT" "COHORT=$COHORT"\n'
    )
    program.chmod(0o755)
    (tmp_path / ".venv/.ready").touch()
    return tmp_path


def make(workplace: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    hidden = {"MIMIC_ROOT", "EICU_ROOT", "COHORT", "MAKEFLAGS"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        ["make", "-s", *words], cwd=workplace, env=kept | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_variable_runs_a_command(variable: str, command: str, workplace: Path) -> None:
    target, word = VARIABLES[variable]
    value = f"a{command}"
    found = make(workplace, target, f"{variable}={value}", "SWEEP=a" if variable != "SWEEP" else "OFFLINE=1")
    assert not list(workplace.glob("CANARY*"))
    assert f"{word or f'{variable}='}{value}" in found.stdout.splitlines(), found.stderr


@pytest.mark.parametrize("variable", ["MIMIC_ROOT", "EICU_ROOT", "COHORT", "SEED"])
def test_nor_does_one_of_the_environment(variable: str, workplace: Path) -> None:
    found = make(workplace, "train", **{variable: "$(shell touch CANARY)"})
    assert not (workplace / "CANARY").exists()
    assert "$(shell touch CANARY)" in found.stdout


def test_a_variable_of_several_lines_is_refused(workplace: Path) -> None:
    found = make(workplace, "train", "SEED=1\ntouch CANARY")
    assert not (workplace / "CANARY").exists()
    assert found.returncode == 2
    assert "SEED has several lines" in found.stderr


def test_an_empty_dataset_reaches_the_program_and_other_empty_variables_do_not(workplace: Path) -> None:
    assert make(workplace, "train", "DATASET=", "SEED=").stdout.splitlines()[:2] == ["train", "dataset="]


def test_every_variable_that_becomes_a_word_is_tested() -> None:
    listed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("VARIABLES :="))
    assert {*listed.split()[2:]} == {*VARIABLES, "MIMIC_CODE", "OFFLINE", "PAGE", "TORCH_INDEX"}
