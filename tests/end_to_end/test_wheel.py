"""The wheel alone, in a virtual environment and a folder that know nothing of the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import write_custom_cohort
from tests.helpers.paths import ROOT

PARTS = ("data_modules", "mmnar_lightning", "experiments", "pyproject.toml", "README.md", "LICENSE")
"""What the wheel is built from; a copy, so that nothing is written into the checkout."""
MINE = """
dataset: custom
trainer: {max_epochs: 1, accelerator: cpu, progress_bar: false}
model: {fusion: {dim: 16, num_heads: 2}}
evaluation: {num_replicates: 100}
wandb: {enabled: false}
"""
SMALL = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.progress_bar=false", "wandb.enabled=false"]
SMALL += [
    "evaluation.num_replicates=100",
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "evaluation.figures=false",
]
SIMULATED = ["simulate.subjects=300", "simulate.images=false"]
SEVERAL = """
import json, sys
from mmnar_lightning.cli import main
from mmnar_lightning.runs import folders
for words in json.loads(sys.argv[1]):
    folders.forget_run()
    status = main(words)
    if status:
        sys.exit(f"{words} ended with {status}")
"""
"""Several commands in one process, which imports torch once."""


def call(program: Path, *words: str, place: Path) -> str:
    """Call a program outside of the checkout and return what it prints."""
    hidden = {"PYTHONPATH", "MIMIC_ROOT", "EICU_ROOT", "COHORT", "WANDB_API_KEY", "VIRTUAL_ENV"}
    own = {name: value for name, value in os.environ.items() if name not in hidden} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([program, *words], cwd=place, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*words: str, place: Path) -> None:
    """Call pip without network and without other packages."""
    call(Path(sys.executable), "-m", "pip", *words, "--quiet", "--no-deps", "--no-index", place=place)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="`make setup` installs hatchling, which builds the wheel")
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        (source / name).symlink_to(ROOT / name)
    pip("wheel", "--no-build-isolation", f"--wheel-dir={built}", str(source), place=built)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a fresh environment, which sees the libraries of this one but none of its editable projects."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (own / "libraries.pth").write_text("\n".join(libraries))  # files of paths in these folders are not read
    pip(f"--python={place / 'bin' / 'python'}", "install", "--ignore-installed", str(wheel), place=place)
    return place / "bin"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a user, with an experiment and two cohorts, one without labels."""
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "mine.yaml").write_text(MINE)
    write_custom_cohort(place / "cohort")
    new = write_custom_cohort(place / "new", num_subjects=20)
    rows = pl.read_parquet(new / "cohort.parquet")
    rows.select(name for name in rows.columns if not name.startswith("label/")).write_parquet(new / "cohort.parquet")
    return place


def test_the_program_is_that_of_the_wheel(programs: Path, place: Path) -> None:
    assert call(programs / "mmnar", "--version", place=place).startswith("mmnar")
    shown = (
        "import sys, data_modules, mmnar_lightning\nprint(mmnar_lightning.__file__, data_modules.__file__, *sys.path)"
    )
    found = call(programs / "python", "-c", shown, place=place)
    first, second, *paths = found.split()
    assert programs.parent in Path(first).parents
    assert programs.parent in Path(second).parents
    assert str(ROOT) not in paths


def test_one_s_own_and_a_shipped_experiment_train_predict_are_exported_and_searched(
    programs: Path, place: Path
) -> None:
    words = ["experiment=mimic_structured", *SIMULATED, *SMALL]
    commands = [
        ["train", "experiment=mine.yaml", "paths.cohort=cohort"],
        ["predict", "experiment=mine.yaml", "paths.cohort=new", "out=predicted"],
        ["export", "experiment=mine.yaml", "to=torch"],
        ["report", "experiment=mine.yaml"],
        ["train", *words],
        ["sweep", *words, "sweep.file=experiments/sweeps/random.yaml", "sweep.offline=true", "sweep.trials=1"],
    ]
    printed = call(programs / "python", "-c", SEVERAL, json.dumps(commands), place=place)
    (run,) = place.glob("runs/mine/*")
    predicted = pl.read_parquet(place / "predicted" / "predictions.parquet")
    assert predicted["rectified/first"].is_between(0, 1).all()
    assert predicted.height == pl.read_parquet(place / "new" / "cohort.parquet").height
    assert (run / "export" / "torch" / "model.pt2").is_file()
    assert "<svg" in (run / "report.html").read_text(encoding="utf-8")
    assert list(place.glob("runs/mimic_structured/*/results.public.json"))
    assert len(list(place.glob("runs/sweeps/*/*/DONE"))) == 1, printed
