"""The settings that leave out a part are those of its ablation."""

import pytest
from yaml import safe_load

from mmnar_lightning.config.compose import flatten, load, to_plain
from mmnar_lightning.config.parts import PARTS, parts_of, without
from mmnar_lightning.config.places import experiments_folder

LAYERS = {path.stem for path in (experiments_folder() / "ablations").glob("*.yaml")}
EVERY = ("experiment=mimic,tuned", "objective.pretrain_epochs=2")
"""Words of a run that has all parts."""


def changed(before, after) -> dict[str, object]:
    one, other = (flatten(to_plain(config)) for config in (before, after))
    return {key: value for key, value in other.items() if value != one[key] and key != "experiment"}


def test_every_ablation_but_that_of_the_output_is_the_layer_of_a_part() -> None:
    assert {part.layer for part in PARTS.values() if part.layer} == LAYERS - {"no_rectifier"}


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if part.layer])
def test_a_part_is_left_out_by_the_settings_of_its_layer(name: str) -> None:
    full = load(EVERY)
    ablated = load([f"{EVERY[0]},ablations/{PARTS[name].layer}", *EVERY[1:]])
    assert changed(full, without(full, name)) == changed(full, ablated) == PARTS[name].without
    text = (experiments_folder() / "ablations" / f"{PARTS[name].layer}.yaml").read_text()
    assert flatten(safe_load(text)) == PARTS[name].without


@pytest.mark.parametrize("name", PARTS)
def test_a_run_has_a_part_until_it_is_left_out(name: str) -> None:
    full = load(EVERY)
    assert parts_of(full) == list(PARTS)
    gone = {"additive": {"slopes", "canonical"}, "conditioning": {"slopes"}}.get(name, set()) | {name}
    assert parts_of(without(full, name)) == [other for other in PARTS if other not in gone]


def test_without_the_only_label_free_term_nothing_is_pretrained() -> None:
    words = ("objective.reconstruction=0", "objective.assignment=0", "objective.pretrain_epochs=2")
    assert changed(load(words), without(load(words), "contrast")) == {
        "objective.contrast": 0.0,
        "objective.pretrain_epochs": 0,
    }
