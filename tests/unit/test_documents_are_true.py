"""What the documents say is compared with what the program does."""

import re
import tomllib
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from mmnar_lightning.cli import COMMANDS
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.keys import settings
from mmnar_lightning.config.layers import config_class
from tests.helpers.paths import ROOT

LAYERS = {"base", "simulated", "tuned"}
EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml") if path.stem not in LAYERS)


def leaves(dataset: str) -> set[str]:
    return set(settings(config_class(dataset)))


def test_every_setting_is_explained_and_every_explained_one_exists() -> None:
    text = (ROOT / "experiments" / "README.md").read_text()
    explained = set(re.findall(r"^\| `([a-z0-9_.]+)` \| `", text, re.MULTILINE))
    assert explained == leaves("mimic") | leaves("eicu") | leaves("meds")
    section = text[text.index("## cohort, dataset=eicu") : text.index("## cohort, dataset=custom")]
    own = set(re.findall(r"^\| `([a-z0-9_.]+)` \| `", section, re.MULTILINE))
    limits = {"min_vocabulary_subjects", "max_vocabulary"}
    inherited = {"name", "modalities", "missing_tables", "split", "pretraining_rows", "verify"} | limits
    expected = {key for key in leaves("eicu") if key.startswith("cohort.")}
    assert own == {key for key in expected if key.split(".")[1] not in inherited}


def choices(config: Any, prefix: str = "") -> dict[str, list[str]]:
    """Key -> values that it may have, of the settings that name them all."""
    found = {}
    for name, hint in get_type_hints(type(config)).items():
        value, key = getattr(config, name), f"{prefix}{name}"
        if get_origin(hint) is Literal:
            found[key] = list(get_args(hint))
        elif is_dataclass(value):
            found |= choices(value, f"{key}.")
    return found


@pytest.mark.parametrize("dataset", ["mimic", "eicu"])
def test_the_values_that_a_setting_may_have_are_all_explained(dataset: str) -> None:
    text = (ROOT / "experiments" / "README.md").read_text()
    start = text.index("## cohort, dataset=mimic")
    other = {"mimic": "## cohort, dataset=eicu", "eicu": "## cohort, dataset=custom"}[dataset]
    reported = text[:start] + text[text.index(f"## cohort, dataset={dataset}") : text.index(other)]
    known = choices(load([f"dataset={dataset}"]))
    assert "baseline.late_fusion.version" in known
    for line in re.findall(r"^\| `.*One of .*$", reported, re.MULTILINE):
        key = re.match(r"\| `([a-z0-9_.]+)`", line)[1]
        assert re.findall(r"`(\w[^`]*)`", line.split("One of ")[1].split(".", 1)[0]) == known.pop(key), key
    inherited = {"cohort.missing_tables"} if dataset == "eicu" else set()
    assert set(known) == inherited


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_shipped_experiment_loads_under_its_name_and_is_explained(name: str) -> None:
    assert load([f"experiment={name}"]).experiment == name
    assert f"`{name}.yaml`" in (ROOT / "experiments" / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_shipped_layer_is_explained(name: str) -> None:
    assert f"`{name}.yaml`" in (ROOT / "experiments" / "README.md").read_text()


def test_the_tuned_layer_has_every_part_and_an_ablation_takes_one_away() -> None:
    tuned = load(["experiment=mimic,tuned", "paths.mimic_root=''"])
    assert (tuned.model.additive.slopes, tuned.model.encoder.bins > 0) == ("pattern", True)
    without = load(["experiment=mimic,tuned,ablations/no_additive", "paths.mimic_root=''"])
    assert (without.model.additive.inverse_penalties, without.model.encoder) == ([], tuned.model.encoder)
    unconditioned = load(["experiment=mimic,tuned,ablations/no_conditioning", "paths.mimic_root=''"])
    assert (unconditioned.model.additive.slopes, unconditioned.model.fusion.conditioned) == ("shared", False)


def test_make_help_prints_every_target_with_a_sentence() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    assert set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)) == targets


def test_the_readme_names_the_two_commands_and_every_subcommand_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in ("make setup", "make train", "make test"):
        assert command in readme
    makefile = (ROOT / "Makefile").read_text()
    assert {
        name for name in re.findall(r"bin/mmnar (\w+)|\$\(BIN\)/mmnar (\w+)", makefile) for name in name if name
    } <= set(COMMANDS)


def test_nothing_of_the_workplace_is_in_the_documents() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        assert "/tmp/" not in path.read_text(), path


def test_the_citation_has_the_version_of_the_program() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE) == [version]
