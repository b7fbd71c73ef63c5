"""The frozen list of settings: a new key, or one that goes, is a decision that this file's neighbour records."""

from pathlib import Path

from mmnar_lightning.config import keys
from mmnar_lightning.config.experiment import ExperimentConfig, datasets
from mmnar_lightning.config.layers import config_class

FROZEN = Path(__file__).with_name("keys.txt")


def test_the_keys_are_those_of_the_list() -> None:
    found = sorted({key for dataset in datasets() for key in keys.settings(config_class(dataset))})
    assert found == FROZEN.read_text().splitlines()


def test_a_group_is_no_setting() -> None:
    groups = {key for dataset in datasets() for key in keys.groups(config_class(dataset))}
    assert {"optim", "cohort.split", "embed.text"} <= groups
    assert not groups & set(keys.settings(ExperimentConfig))
