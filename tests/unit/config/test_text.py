"""Settings that are text keep their text, whichever way it comes in, and `~` is expanded in every path."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from data_modules.settings import expand
from mmnar_lightning.config import keys
from mmnar_lightning.config.compose import load, save
from mmnar_lightning.config.experiment import ConfigError, datasets
from mmnar_lightning.config.layers import config_class, kinds
from mmnar_lightning.config.text import _is_text, _member, _without_none
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.sweeps.space import read
from tests.helpers.paths import ROOT

FROZEN = Path(__file__).with_name("keys.txt").read_text().splitlines()
ODD = [
    "0123",
    "12e45678",
    "1e5",
    "/a #b",
    "a: b",
    "[a",
    "1_0",
    "0x1F",
    "on",
    "2020-01-01",
    " a ",
    "*a",
    "a'b",
    '"a',
    "é😀",
]
"""Texts that YAML reads as something else, or not at all."""
FREE = ["run", "out", "resume", "cohort.split.salt", "paths.data", "embed.text.model", "sweep.file"]
"""Settings of any text."""
PATHS = {
    "cohort.labels": "",
    "cohort.mapping": "",
    "embed.image.path": "",
    "embed.image.weights": "",
    "embed.text.model": "",
    "out": "",
    "paths.cohort": "",
    "paths.data": "",
    "paths.eicu_root": ":",
    "paths.mimic_root": ":",
    "paths.roots": ":",
    "paths.runs": "",
    "resume": "",
    "run": "",
    "sweep.file": "",
    "table.name": "",
    "table.page": "",
    "transfer.target": "",
}
"""Every path among the settings -> what separates several."""


def value_of(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    return config


@pytest.mark.parametrize("text", ODD)
def test_a_text_keeps_its_text_as_a_word_and_in_a_resolved_configuration(text: str, tmp_path: Path) -> None:
    composed = load([f"{key}={text}" for key in FREE])
    assert {value_of(composed, key) for key in FREE} == {text}
    save(composed, tmp_path / "config.yaml")
    again = load([f"experiment={tmp_path / 'config.yaml'}"])
    assert {value_of(again, key) for key in FREE} == {text}


TYPED = {
    "loader.held_pattern=[0001, 1e5]": ["0001", "1e5"],
    "loader.held_pattern=null": None,
    "loader.held_pattern=": None,
    "run=null": "null",
    "run=": "",
    "run='it''s'": "it's",
    'run="a\\tb"': "a\tb",
    "paths.roots.other=0123": "0123",
    "paths.roots={other: 0123}": {"other": "0123"},
    "embed.modalities.cxr.model=0123": "0123",
    "embed.modalities.cxr.views=[007, AP]": ["007", "AP"],
    "embed.modalities.cxr.max_images=007": 7,
    "baseline.settings.width=007": 7,
    "baseline.settings.rates=[1e-3]": [0.001],
    "seed=0x10": 16,
    "optim.lr=1e-3": 0.001,
    "evaluate=off": False,
}


@pytest.mark.parametrize(("word", "value"), TYPED.items())
def test_members_that_are_text_keep_it_and_everything_else_is_yaml(word: str, value: Any) -> None:
    assert value_of(load([word]), word.partition("=")[0]) == value


def test_a_group_given_as_one_word_keeps_its_texts() -> None:
    assert load(["paths={runs: 0123, data: 1e5}"]).paths.runs == "0123"


def test_a_file_keeps_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 010\ncohort: {split: {salt: 0123}, modalities: [12e4]}\npaths: {runs: 1_0}\n")
    composed = load([f"experiment={path}"])
    assert (composed.seed, composed.paths.runs) == (8, "1_0")
    assert (composed.cohort.split.salt, composed.cohort.modalities) == ("0123", ["12e4"])


def test_a_sweep_keeps_its_texts_up_to_the_words_of_a_trial(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "method: grid\nmetric: {name: val/auroc_best, goal: maximize}\n"
        'command: [mmnar, trial, run=0123, "${args_no_hyphens}"]\n'
        "parameters:\n  cohort.split.salt: {values: [0123, 1e5]}\n  embed.modalities.cxr.model: {value: 007}\n"
        "  seed: {values: [010]}\n"
    )
    sweep = read(path)
    words = sweep.words(sweep.grid()[0])
    assert words == ["mmnar", "trial", "run=0123", "cohort.split.salt=0123", "embed.modalities.cxr.model=007", "seed=8"]
    composed = load(words[2:])
    assert (composed.run, composed.cohort.split.salt, composed.seed) == ("0123", "0123", 8)


@pytest.mark.parametrize("word", ["run=${seed}", "paths.runs=/a/${b}", "run=???"])
def test_a_value_that_omegaconf_would_replace_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(word)):
        load([word])


def declared() -> dict[str, str]:
    return {
        key: field.metadata["path_separator"]
        for dataset in datasets()
        for key, field in keys.settings(config_class(dataset)).items()
        if "path_separator" in field.metadata
    }


def test_the_paths_are_those_of_the_list_and_every_text_about_a_file_or_folder_is_one() -> None:
    assert declared() == PATHS
    rows = re.findall(r"^\| `([\w.]+)` \| .*? \| (.*) \|$", (ROOT / "experiments/README.md").read_text(), re.MULTILINE)
    about = {key for key, text in rows if key in FROZEN and re.search(r"\b(folders?|file|path)\b", text, re.IGNORECASE)}
    texts = {key for key in about if _is_text(_without_none(kinds()[key])[0]) or _member(kinds()[key], dict) is str}
    # a name that stands for a file or folder, not its path
    assert texts - set(PATHS) == {"cohort.name", "embed.image.encoder", "experiment"}


@pytest.mark.parametrize("key", sorted(set(FROZEN) & set(PATHS)))
def test_every_path_expands_the_home_folder(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given, expected = "~/a", "/home/me/a"
    if PATHS[key]:
        given, expected = "~/a:/b:~/c", "/home/me/a:/b:/home/me/c"
    name = f"{key}.other" if key == "paths.roots" else key
    owner = next(dataset for dataset in datasets() if key in keys.settings(config_class(dataset)))
    for text, value in ((given, expected), ("/a/~b", "/a/~b")):
        assert value_of(load([f"dataset={owner}", f"{name}={text}"]), name) == value


def test_a_setting_of_another_dataset_is_named_as_one() -> None:
    with pytest.raises(ConfigError, match=r"cohort\.mapping is a setting of dataset=meds alone"):
        load(["cohort.mapping=codes.yaml"])


def test_the_paths_of_one_modality_and_of_an_experiment_expand_it_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("seed: 4\n")
    assert load(["experiment=~/mine.yaml"]).seed == 4
    assert load(["experiment=mimic,~/mine.yaml"]).seed == 4
    assert ImageConfig(path="~/x").path == TextConfig(model="~/x").model == f"{tmp_path}/x"


@pytest.mark.parametrize(("variable", "dataset"), [("MIMIC_ROOT", "mimic"), ("EICU_ROOT", "eicu"), ("X_ROOT", "x")])
def test_roots_of_the_environment_keep_their_text_and_expand_it(variable, dataset, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv(variable, "~/1e5:/b #c")
    assert load([]).paths.root(dataset) == "/home/me/1e5:/b #c"


def test_the_cohort_of_the_environment_keeps_its_text_and_expands_it(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("COHORT", "~/0123 #b")
    assert load(["dataset=custom"]).paths.cohort == "/home/me/0123 #b"


def test_the_home_of_an_unknown_user_stays_as_it_is() -> None:
    assert expand("~unknown-user/a") == "~unknown-user/a"


def test_a_variable_of_make_reaches_the_command_as_it_is() -> None:
    command = ["make", "-n", "train", "RESUME=/a b", "DATASET=e 1"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if "mmnar train" in line)
    assert shlex.split(line)[2:] == ["dataset=e 1", "resume=/a b"]
