"""What `mmnar settings` says of a setting is what its dataclass declares."""

from typing import get_args

import pytest

from mmnar_lightning.cli import main
from mmnar_lightning.commands.settings import show_settings
from mmnar_lightning.config import hints, keys
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, cohort_config, datasets
from mmnar_lightning.config.layers import config_class
from mmnar_lightning.config.reference import _joined, meanings, settings_of
from mmnar_lightning.config.training import TrainerConfig

BY_KEY = {one.key: one for one in settings_of("mimic")}


@pytest.mark.parametrize("dataset", datasets())
def test_every_setting_has_a_type_and_a_meaning(dataset: str) -> None:
    found = settings_of(dataset)
    assert sorted(one.key for one in found) == sorted(keys.settings(config_class(dataset)))
    assert [one.key for one in found if not one.meaning.endswith((".", ")"))] == []
    assert [one.key for one in found if not one.kind] == []


def test_types_defaults_and_conditions_are_those_of_the_field() -> None:
    assert BY_KEY["rectifier.start_epoch"].condition == "rectifier.fit != none and rectifier.loss_offset = true"
    assert (BY_KEY["trainer.patience"].kind, BY_KEY["trainer.patience"].default) == ("int", "15")
    assert BY_KEY["trainer.patience"].meaning == ("Epochs without an improved validation AUROC before training stops.")
    choices = get_args(TrainerConfig.__annotations__["strategy"])
    assert BY_KEY["trainer.strategy"].kind == " | ".join(choices)
    assert BY_KEY["evaluation.elsewhere"].commands == ("evaluate",)
    assert BY_KEY["simulate.rho"].condition == "simulated = true", "the condition of the group"


def test_a_condition_of_a_group_and_alternatives_of_a_setting_both_hold() -> None:
    assert _joined(("a = 1", "b > 0 or c > 0")) == "a = 1 and (b > 0 or c > 0)"
    assert _joined(("b > 0 or c > 0",)) == "b > 0 or c > 0"


def test_a_dataset_has_the_settings_of_its_own_cohort() -> None:
    eicu = {one.key: one for one in settings_of("eicu")}
    assert "cohort.readmission" in eicu
    assert "cohort.readmission" not in BY_KEY
    assert eicu["cohort.min_age"].meaning != BY_KEY["cohort.min_age"].meaning
    owner: type = cohort_config("eicu")
    assert meanings(owner)["name"], "inherited from the cohorts of all databases"


def test_a_prefix_selects_settings_and_every_line_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "rectifier"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "rectifier.loss_offset: true | false = true" in lines
    assert "    read when rectifier.fit != none" in lines
    assert f"    {BY_KEY['rectifier.min_rows'].meaning}" in lines
    assert all(line.startswith(("rectifier.", "    ")) for line in lines)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr"], "did you mean optim.lr?"),
        (["xyzzy"], "`mmnar settings` prints all"),
        (["optim", "trainer"], "takes one prefix"),
        (["seed=3"], "takes one prefix"),
        (["dataset=none"], "expected one of mimic, eicu, meds, custom"),
    ],
)
def test_what_selects_nothing_is_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", *words]) == 1
    assert says in capsys.readouterr().out


def test_a_prefix_may_be_a_part_of_a_key() -> None:
    assert [one.key for one in show_settings("trainer.max")] == ["trainer.max_epochs"]


KNOWN = sorted({one.key for dataset in datasets() for one in settings_of(dataset)})


def test_every_synonym_stands_for_one_setting_that_exists() -> None:
    assert set(hints.SYNONYMS) <= set(KNOWN)
    names = [name for text in hints.SYNONYMS.values() for name in text.split(" ")]
    assert len(names) == len(set(names)) > 100
    for key, text in hints.SYNONYMS.items():
        for name in text.split(" "):
            assert name == key or hints.meant(name, KNOWN) == key, name


@pytest.mark.parametrize(
    ("key", "meant"),
    {
        "lr": "optim.lr",
        "optim.learning_rate": "optim.lr",
        "trainer.epochs": "trainer.max_epochs",
        "training.batch_size": "loader.batch_size",
        "gpus": "trainer.devices",
        "trainer.seed": "seed",
        "optim.momentum": "",
        "optim.name": "",
        "name": "",
        "wandb.mode": "",
        "trainer.gradient_clip_val": "",
        "data.num_workers": "embed.image.num_workers",
        "xyzzy": "",
    }.items(),
)
def test_a_hint_is_right_or_there_is_none(key: str, meant: str) -> None:
    assert hints.meant(key, KNOWN) == meant


def test_an_unknown_word_names_the_setting_that_it_means() -> None:
    with pytest.raises(ConfigError, match=r"batch_size=3: unknown .* mean loader.batch_size\?"):
        load(["batch_size=3"])
