"""Every renamed or removed setting is refused with what to do, wherever it is given."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from data_modules.errors import UserError
from mmnar_lightning.config import keys
from mmnar_lightning.config.compose import load, save
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig, datasets
from mmnar_lightning.config.layers import config_class
from mmnar_lightning.config.places import experiments_folder
from mmnar_lightning.config.renamed import EXPERIMENT, MAX_NAMED, RENAMED, explain, explain_all, explain_experiment
from mmnar_lightning.encoders.stage import device_of
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.runs import build, folders, single

KEYS = {old: new for old, new in RENAMED.items() if not old.startswith(EXPERIMENT)}
EXPERIMENTS = {old: new for old, new in RENAMED.items() if old.startswith(EXPERIMENT)}
KINDS_OF_KEYS = (lambda old: "*" in old, lambda old: " " in KEYS[old], lambda old: not {*"* "} & {*old, *KEYS[old]})
"""A key of each modality, one that was removed, and one that was renamed."""
KNOWN = {key for dataset in datasets() for key, *_ in keys.walk(config_class(dataset))}


def sentence_of(old: str, new: str) -> str:
    """What a message says of an entry, whose `*` is a modality."""
    old, new = old.replace("*", "cxr"), new.replace("*", "cxr")
    return f"{old} {new}" if " " in new else f"{old} is now called {new}"


@pytest.mark.parametrize(("old", "new"), KEYS.items())
def test_an_old_key_is_no_setting_and_a_new_one_is(old: str, new: str) -> None:
    assert old not in KNOWN
    if " " in new:
        assert new.startswith("was removed: ")
    elif "*" not in new:
        assert new in KNOWN
    else:
        name = f"embed.modalities.cxr.{new.rpartition('.')[2]}"
        assert load([f"{name}=2"]).embed.modalities["cxr"] == {new.rpartition(".")[2]: 2}


@pytest.mark.parametrize(("old", "new"), KEYS.items())
def test_a_word_with_an_old_key_is_refused_with_what_to_do(old: str, new: str) -> None:
    word = f"{old.replace('*', 'cxr')}=3"
    with pytest.raises(ConfigError) as caught:
        load([word])
    assert str(caught.value) == f"{word}: {sentence_of(old, new)}"


@pytest.mark.parametrize(("old", "new"), KEYS.items())
def test_a_file_with_an_old_key_is_refused_by_its_name(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    OmegaConf.save(OmegaConf.from_dotlist([f"{old.replace('*', 'cxr')}=3"]), path)
    with pytest.raises(ConfigError) as caught:
        load([f"experiment=mimic,{path}"])
    assert str(caught.value) == f"{path}: {sentence_of(old, new)}"


@pytest.fixture(scope="module")
def plain() -> ExperimentConfig:
    """The settings of a command without words."""
    return load([])


@pytest.fixture(scope="module")
def saved(plain: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """The resolved configuration of a run."""
    path = tmp_path_factory.mktemp("saved") / folders.CONFIG
    save(plain, path)
    found = OmegaConf.load(path)
    assert isinstance(found, DictConfig)
    return found


def older_run(folder: Path, old: str, saved: DictConfig) -> str:
    """Leave a run of an older version with an old key beside others, and give the pattern of its refusal."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in (folders.BEST, folders.LAST):
        (folder / name).touch()
    own = saved.copy()
    OmegaConf.update(own, old.replace("*", "cxr"), 3)
    OmegaConf.save(own, folder / folders.CONFIG)
    return f"^{re.escape(f'{folder / folders.CONFIG}: {sentence_of(old, KEYS[old])}')}$"


@pytest.mark.parametrize("old", KEYS)
def test_a_run_of_an_older_version_is_refused_by_name(old: str, plain: ExperimentConfig, tmp_path: Path) -> None:
    few = OmegaConf.create({"dataset": "mimic", "seed": 3})  # as good as all others, which take a while to write
    expected = older_run(tmp_path / "older", old, few)
    with pytest.raises(ConfigError, match=expected):
        folders.settings_of(tmp_path / "older", plain)


@pytest.mark.parametrize("old", [next(old for old in KEYS if condition(old)) for condition in KINDS_OF_KEYS])
def test_it_is_neither_evaluated_nor_resumed(old: str, saved: DictConfig, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    expected = older_run(folder, old, saved)
    with pytest.raises(ConfigError, match=expected):
        single.evaluate(load([f"paths.runs={tmp_path}", f"run={folder}"]))
    with pytest.raises(ConfigError, match=expected):
        folders.run_to_resume(load([f"paths.runs={tmp_path}", f"resume={folder}"]), folders.LAST)


@pytest.mark.parametrize(("old", "new"), EXPERIMENTS.items())
def test_an_old_experiment_is_refused_with_its_new_name(old: str, new: str) -> None:
    below = "late_fusion" if old.endswith("/") else ""
    name, now = (f"{entry.removeprefix(EXPERIMENT)}{below}" for entry in (old, new))
    assert (experiments_folder() / f"{now}.yaml").is_file()
    for given in (name, f"mimic,{name}"):
        with pytest.raises(ConfigError, match=rf"^experiment={name}: it is now called {now}$"):
            load([f"experiment={given}"])


def test_keys_below_a_renamed_group_keep_their_end_and_may_have_been_removed_since() -> None:
    assert (
        explain("rival.late_fusion.version") == "rival.late_fusion.version is now called baseline.late_fusion.version"
    )
    assert explain("embed.film.colour") == "embed.film.colour is now called embed.image.colour"
    assert explain("rival.mask_only.dim") == f"rival.mask_only.dim {RENAMED['baseline.mask_only']}"
    with pytest.raises(ConfigError, match=r"^rival=\{name: mask_only\}: rival\.name is now called baseline\.name$"):
        load(["rival={name: mask_only}"])


def test_no_current_setting_and_no_shipped_experiment_is_taken_for_an_old_one() -> None:
    assert not [key for key in KNOWN if explain(key)]
    folder = experiments_folder()
    names = [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")]
    assert not [name for name in names if explain_experiment(name)]


def test_a_file_with_many_old_keys_names_the_first_and_counts_the_others() -> None:
    told = explain_all({"rectifier": dict.fromkeys(("scale", "refresh", "damping"), 1), "rival": dict.fromkeys("abcd")})
    assert told is not None
    assert told.startswith("rectifier.scale was removed: always logit; rectifier.refresh was")
    assert told.endswith("; and 2 more")
    assert told.count("; ") == MAX_NAMED


def test_what_took_the_place_of_removed_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    config = load([f"paths.mimic_root={tmp_path}", "trainer.accelerator=cpu", "embed.text.window=64"])
    assert config.wandb.project == "ours"
    monkeypatch.delenv("WANDB_PROJECT")
    assert config.wandb.project == "mmnar"
    encode: Any = build.build_datamodule(config).encode
    assert encode.keywords["accelerator"] == "cpu"
    assert config.embed.text.overlap == 8
    assert [RectifierConfig(min_rows=rows).min_class_rows for rows in (1, 20, 41)] == [1, 5, 10]
    assert device_of("mps") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^trainer\.accelerator=gpu: no GPU is available; use auto or cpu$"):
        device_of("gpu")
