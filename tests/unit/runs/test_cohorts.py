"""The cohort that `mmnar cohort` builds is the one that is trained on."""

from pathlib import Path

import pytest

from data_modules import stage
from data_modules.errors import UserError
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import build, cohorts
from tests.conftest import write_custom_cohort


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["mimic", "eicu", "custom"])
def test_a_run_finds_the_cohort_that_the_command_has_built(dataset: str, workplace: Path) -> None:
    write_custom_cohort(workplace / "given")
    words = [f"dataset={dataset}"]
    words += ["paths.cohort=given"] if dataset == "custom" else ["simulate.subjects=150", "simulate.images=false"]
    config = load(words)
    built = cohorts.build(config)
    before = (built / stage.MANIFEST).stat()
    assert build.build_datamodule(config).build() == built
    assert (built / stage.MANIFEST).stat() == before


def test_a_custom_cohort_without_a_folder_is_refused(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="dataset=custom needs COHORT=/path"):
        cohorts.build(load(["dataset=custom"]))


@pytest.mark.parametrize("dataset", ["mimic", "eicu"])
@pytest.mark.parametrize("start", [cohorts.build, build.build_datamodule])
def test_an_unknown_modality_is_refused_before_anything_is_simulated(start, dataset: str, workplace: Path) -> None:
    with pytest.raises(UserError, match=r"cohort.modalities: unknown modality 'labz'; .* offers .*labs"):
        start(load([f"dataset={dataset}", "cohort.modalities=[labz]"]))
    assert not (workplace / "data").exists()
