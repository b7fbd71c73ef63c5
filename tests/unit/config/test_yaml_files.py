"""No YAML file or word reads the environment, calls a function or builds an object, wherever it enters."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from data_modules.errors import UserError
from mmnar_lightning.blueprint import typed
from mmnar_lightning.commands.best import best
from mmnar_lightning.config.compose import load, save
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.runs import folders, transfer
from mmnar_lightning.sweeps import space, table
from tests.helpers.paths import ROOT

CANARY = "canary-of-the-environment"
FUNCTIONS = {
    "environment": "${oc.env:MMNAR_CANARY}",
    "decoded": "${oc.decode:'1'}",
    "created": "${oc.create:{a: 1}}",
    "keys": "${oc.dict.keys:paths}",
    "of the user": "${mine:1}",
    "within": "${paths.${oc.env:MMNAR_CANARY}}",
    "escaped": r"\${oc.env:MMNAR_CANARY}",
    "escaped reference": r"\${seed}",
    "unfinished": "${oc.env:MMNAR_CANARY",
}
SWEEP = {
    "method": "grid",
    "metric": {"name": "val/auroc_best", "goal": "maximize"},
    "command": ["mmnar", "trial", "evaluate=false", "${args_no_hyphens}"],
    "parameters": {"seed": {"values": [0, 1]}},
}


def with_text(path: Path, value: str) -> Path:
    """A copy of a run's config.yaml, or a new file, with a value as the salt of the split."""
    plain = yaml.safe_load(path.read_text()) if path.is_file() else {}
    plain.setdefault("cohort", {}).setdefault("split", {})["salt"] = value
    path.write_text(yaml.safe_dump(plain))
    return path


def experiment(tmp_path: Path, value: str) -> None:
    load([f"experiment={with_text(tmp_path / 'mine.yaml', value)}"])


def layered(tmp_path: Path, value: str) -> None:
    load([f"experiment=mimic,{with_text(tmp_path / 'mine.yaml', value)}"])


def shipped(tmp_path: Path, value: str) -> None:
    """experiments/ of the working directory."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/base.yaml").write_text("{}")
    with_text(tmp_path / "experiments/base.yaml", value)
    (tmp_path / "experiments/mimic.yaml").write_text("dataset: mimic\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        load([])


def word(tmp_path: Path, value: str) -> None:
    load([f"cohort.split.salt={value}"])


def target(tmp_path: Path, value: str) -> None:
    file = with_text(tmp_path / "target.yaml", value)
    transfer.target_config(load([f"transfer.target={file}"]))


def a_run(tmp_path: Path, value: str) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    save(load([]), folder / folders.CONFIG)
    with_text(folder / folders.CONFIG, value)
    return folder


def evaluated(tmp_path: Path, value: str) -> None:
    folders.settings_of(a_run(tmp_path, value), load([]))


def resumed(tmp_path: Path, value: str) -> None:
    folder = a_run(tmp_path, value)
    (folder / folders.FIT).touch()
    folders.run_to_resume(load([f"resume={folder}"]), folders.FIT)


def sweep(tmp_path: Path, value: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(SWEEP | {"parameters": {"cohort.split.salt": {"values": [value, "b"]}}}))
    space.read(file)


def sweep_command(tmp_path: Path, value: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(SWEEP | {"command": ["mmnar", "trial", f"cohort.split.salt={value}"]}))
    space.read(file)


def best_of_a_sweep(tmp_path: Path, value: str) -> None:
    (tmp_path / space.SWEEP_FILE).write_text(yaml.safe_dump(SWEEP | {"program": value}))
    best(load([f"run={tmp_path}"]))


def table_of_a_sweep(tmp_path: Path, value: str) -> None:
    a_run(tmp_path, value)
    table.build_table(tmp_path, space.parse(SWEEP))


def model_folder(tmp_path: Path, value: str) -> None:
    typed(EmbedConfig, {"modalities": {"note": {"encoder": value}}})


DOORS = [
    experiment, layered, shipped, word, target, evaluated, resumed, sweep, sweep_command, best_of_a_sweep,
    table_of_a_sweep, model_folder,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMNAR_CANARY", CANARY)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("value", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_no_function_of_omegaconf_is_called(door: Callable[[Path, str], None], value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        door(tmp_path, value)
    assert CANARY not in str(caught.value)
    assert "${" in str(caught.value)


@pytest.mark.parametrize("door", [experiment, layered, target, evaluated, resumed], ids=lambda door: door.__name__)
def test_the_file_and_the_key_are_named(door: Callable[[Path, str], None], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.yaml, line \d+: cohort\.split\.salt: \$\{oc.env:MMNAR_CANARY\}: "):
        door(tmp_path, "${oc.env:MMNAR_CANARY}")


def test_every_yaml_file_of_settings_is_read_by_one_function() -> None:
    called = re.compile(r"OmegaConf\.load|yaml\.(?:\w+_)?load(?:_all)?\(|yaml\.compose")
    allowed = {"yaml.safe_load(text)", "yaml.safe_load(read_yaml(path))", "yaml.safe_load(read_yaml(layer))"}
    others = {
        (path.relative_to(ROOT).as_posix(), line.strip())
        for path in (ROOT / "mmnar_lightning").rglob("*.py")
        for line in path.read_text().splitlines()
        if called.search(line) and path.parent.name != "config" and not any(form in line for form in allowed)
    }
    assert not others, "read_yaml refuses functions and tags"


def test_a_reference_to_another_setting_is_resolved(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 3\ncohort: {split: {salt: 'a-${seed}-${cohort.split.num_folds}-${.val}'}}\n")
    assert load([f"experiment={path}"]).cohort.split.salt == "a-3-5-0.1"


def test_a_reference_to_no_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sede"):
        load([f"experiment={with_text(tmp_path / 'mine.yaml', '${sede}')}"])


def test_a_function_that_references_would_put_together_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("cohort: {split: {salt: $}}\nembed: {text: {model: '${cohort.split.salt}{oc.env:MMNAR_CANARY}'}}\n")
    with pytest.raises(ConfigError, match=r"embed\.text\.model has \$"):
        load([f"experiment={path}"])


def test_a_folder_that_the_environment_names_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIC_ROOT", "${oc.env:MMNAR_CANARY}")
    with pytest.raises(ConfigError, match=r"the environment: paths\.mimic_root"):
        load([])


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.getcwd []",
        "cohort: {split: {salt: !!python/object/apply:pathlib.Path [a]}}",
        "cohort: {split: {salt: !mine a}}",
        "cohort: !!omap [name: a]",
        "? !mine seed\n: 1",
        "seed: !!binary aGVsbG8=",
    ],
)
def test_a_tag_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"# mine\n{text}\n")
    with pytest.raises(ConfigError, match=r"line [23]: .*tags"):
        load([f"experiment={path}"])


def test_a_tag_in_a_word_is_refused_where_the_value_is_no_text() -> None:
    with pytest.raises(ConfigError, match=r"seed=!!python/name:os\.getcwd .*tags"):
        load(["seed=!!python/name:os.getcwd x"])
    assert load(["run=!mine"]).run == "!mine"


def test_a_group_within_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("cohort: &a {split: *a}\n")
    with pytest.raises(ConfigError, match=r"cohort\.split: this group contains itself"):
        load([f"experiment={path}"])
