"""Files of experiments and sweeps are the user's own first, then the program's, file by file."""

from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.config.places import experiments_folder, sweep_file


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """experiments/ of a working directory, without a base.yaml."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments"
    (folder / "baselines").mkdir(parents=True)
    (folder / "mine.yaml").write_text("dataset: mimic\noptim: {lr: 0.5}\n")
    return folder


def test_an_experiment_of_ones_own_is_laid_over_the_shipped_base_and_under_shipped_layers(own: Path) -> None:
    config = load(["experiment=mine,baselines/late_fusion"])
    assert (config.optim.lr, config.baseline.name, config.trainer.patience) == (0.5, "late_fusion", 15)
    assert config.experiment == "mine-late_fusion"


def test_a_file_of_ones_own_replaces_the_shipped_one_of_the_same_name(own: Path) -> None:
    (own / "baselines" / "late_fusion.yaml").write_text("seed: 7\n")
    (own / "base.yaml").write_text("trainer: {patience: 3}\n")
    config = load(["experiment=mimic,baselines/late_fusion"])
    assert (config.seed, config.baseline.name, config.trainer.patience) == (7, "none", 3)


def test_a_name_that_neither_has_is_refused_with_the_names_of_both(own: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no .*other.yaml or .*other.yaml; known are .*mimic, .*mine"
    ) as found:
        load(["experiment=other"])
    assert str(own) in str(found.value)


def test_a_sweep_file_is_searched_likewise(own: Path) -> None:
    given = "experiments/sweeps/random.yaml"
    assert sweep_file(given) == experiments_folder() / "sweeps" / "random.yaml"
    (own / "sweeps").mkdir()
    (own / "sweeps" / "random.yaml").touch()
    assert sweep_file(given).resolve() == own / "sweeps" / "random.yaml"
    assert sweep_file("elsewhere/random.yaml") == Path("elsewhere/random.yaml")


@pytest.mark.parametrize(
    ("words", "encoder"),
    [
        ([], "small"),
        (["simulate.images=false"], "release"),
        (["simulate.images=false", "embed.image.encoder=none"], "none"),
    ],
)
def test_simulated_images_without_files_are_read_as_embeddings(
    words: list[str], encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIMIC_ROOT", raising=False)
    assert load(["experiment=mimic", *words]).embed.image.encoder == encoder
