"""The parts of a module that its checkpoint determines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from data_modules.vocabulary import Modality, TaskKind
from mmnar_lightning.baselines.stored import below
from mmnar_lightning.blueprint import Blueprint, SavedModelError, maps_within, typed
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from mmnar_lightning.optim import OptimConfig
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier

KIND = "kind"
"""Hyperparameter for the kind of the tasks."""
NETWORK = "network"
"""Hyperparameter for what no other one and no tensor shows: inner folds, and inputs of the additive head."""


@dataclass(frozen=True, kw_only=True)
class ModuleParts:
    """The arguments of an `MMNARModule`, with new weights."""

    model: nn.Module
    objective: Objective
    optim: OptimConfig
    hyperparameters: dict[str, Any]
    loss_offset: Rectifier | None
    rectifier: Rectifier | None


def parts_of(checkpoint: Mapping[str, Any], place: str) -> ModuleParts:
    """Build the parts of the module that wrote a checkpoint.

    Args:
        checkpoint: its content.
        place: names it in errors.

    Returns:
        The parts, whose tensors are still to be loaded.

    Raises:
        SavedModelError: if the checkpoint is not of this project, or older than what it must hold.
    """
    settings, state = checkpoint.get("hyper_parameters"), checkpoint.get("state_dict")
    if settings is None or state is None or NETWORK not in settings:
        raise SavedModelError(
            f"{place} is no checkpoint of this version: it has no hyperparameter {NETWORK!r}; `mmnar evaluate run=...` "
            "reads older checkpoints and writes a model folder, which mmnar_lightning.load reads"
        )
    modalities = [Modality(**entry) for entry in settings["modalities"]]
    objective, network = typed(ObjectiveConfig, settings["objective"]), below(state, "model.")
    rectifiers = {name: _rectifier(below(state, f"{name}."), settings) for name in ("loss_offset", "rectifier")}
    own = next((value for name, value in network.items() if name.endswith("additive.pattern")), None)
    blueprint = Blueprint(
        settings=settings,
        tasks=settings["tasks"],
        modalities=modalities,
        patterns=[] if own is None else own.tolist(),
        auxiliary=objective.auxiliary,
        **settings[NETWORK],
    )
    return ModuleParts(
        model=blueprint.network(maps_within(network, modalities, place)),
        objective=Objective(settings["tasks"], objective, kind_of(settings)),
        optim=typed(OptimConfig, settings["optim"]),
        hyperparameters=dict(settings),
        **rectifiers,
    )


def _rectifier(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Rectifier | None:
    if not state:
        return None
    config, patterns = typed(RectifierConfig, settings["rectifier"]), state["pattern"].tolist()
    subjects = len(state["fitted_subjects"])
    sizes = len(settings["tasks"]), len(settings["modalities"])
    return Rectifier(*sizes, patterns, subjects, config, kind_of(settings))


def kind_of(settings: Mapping[str, Any]) -> TaskKind:
    """The kind of the tasks in the hyperparameters of a checkpoint; earlier ones had one kind."""
    return "value" if settings.get(KIND) == "value" else "binary"
