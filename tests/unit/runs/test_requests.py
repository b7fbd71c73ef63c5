"""What `evaluate` and `best` keep from a run is not asked of them in other words."""

from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load, save
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders
from mmnar_lightning.runs.requests import refuse_other_settings

TRAINED = ("dataset=custom", "optim.lr=0.01", "evaluation.inner_folds=2", "cohort.split.num_folds=7")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(load(TRAINED), tmp_path / folders.CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    ("word", "own"),
    [
        ("optim.lr=0.1", "0.01"),
        ("optim={lr: 0.1}", "0.01"),
        ("cohort.split.num_folds=6", "7"),
        ("evaluation.inner_folds=3", "2"),
        ("seed=3", "0"),
        ("dataset=mimic", "custom"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "best"])
def test_another_value_than_the_run_s_is_refused_with_both(run: Path, word: str, own: str, command: str) -> None:
    words = [word] if word.startswith("dataset") else ["dataset=custom", word]
    with pytest.raises(ConfigError, match=rf"was trained with .*={own}, which `mmnar {command}` keeps"):
        refuse_other_settings(run, load(words), command)


@pytest.mark.parametrize(
    "words",
    [
        TRAINED,
        ("dataset=custom",),
        ("dataset=custom", "evaluation.num_replicates=200", "trainer.accelerator=cpu", "paths.runs=there", "run=x"),
        ("dataset=mimic", "evaluation.elsewhere=carried", "cohort.split.num_folds=6"),
    ],
)
def test_its_own_values_and_what_evaluation_reads_are_accepted(run: Path, words: tuple[str, ...]) -> None:
    refuse_other_settings(run, load(words), "evaluate")
