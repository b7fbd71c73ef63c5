"""Reads a model folder; no code that it names is imported, and nothing is unpickled."""

from pathlib import Path

import torch
from torch import Tensor, nn

from data_modules import stage
from data_modules.features.store import Statistics
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.inputs import BaselineInputs
from mmnar_lightning.baselines.registry import BASELINES, NetworkBaseline
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.trainable import item_parts
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import ModelConfig
from mmnar_lightning.nn.inputs import InputMap, PiecewiseLinear, Projection
from mmnar_lightning.nn.weights import WeightsError, load_weights, read_weights
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.saved.description import AGAIN, WEIGHTS, Description, SavedModelError
from mmnar_lightning.saved.model import Ranges, SavedModel
from mmnar_lightning.saved.settings import typed
from mmnar_lightning.saved.write import OF_SUBJECTS


def load(path: Path | str) -> SavedModel:
    """Load a stored model.

    Args:
        path: a model folder, or the folder of a run that has one.

    Returns:
        The model, on the CPU, ready to predict.

    Raises:
        SavedModelError: if the folder is damaged, of another version, or of a baseline of another package.

    """
    folder = Path(path)
    folder = folder / "model" if (folder / "model").is_dir() else folder
    described = Description.load(folder)
    stage.verify(folder, AGAIN)
    tensors = read_weights(folder / WEIGHTS)
    try:
        return _assembled(folder, described, tensors)
    except (KeyError, WeightsError) as error:
        raise SavedModelError(f"{folder / WEIGHTS} does not fit model.json ({error}); write it again") from error


def _assembled(folder: Path, described: Description, tensors: dict[str, Tensor]) -> SavedModel:
    network = _network(described, tensors)
    place = str(folder / WEIGHTS)
    load_weights(network, _below(tensors, "network/"), place)
    config = typed(RectifierConfig, described.settings["rectifier"])
    rectifiers = {}
    for prefix in ("loss_offset", "rectifier"):
        own = _below(tensors, f"{prefix}/")
        rectifiers[prefix] = _rectifier(described, config, own, place) if own else None
    statistics = {
        name: Statistics(*(tensors[f"statistics/{name}/{part}"].numpy() for part in ("mean", "scale")))
        for name in described.names
        if f"statistics/{name}/mean" in tensors
    }
    ranges = {
        name: Ranges(tensors[f"range/{name}/low"], tensors[f"range/{name}/high"])
        for name in described.names
        if f"range/{name}/low" in tensors
    }
    return SavedModel(folder, described, network.eval(), statistics, ranges, **rectifiers)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _network(described: Description, tensors: dict[str, Tensor]) -> nn.Module:
    """The network with new weights."""
    count = described.inner_folds * described.inner_repeats or 1
    maps = {entry.name: _map(entry.map, _below(tensors, f"maps/{entry.name}/"), entry.width)
            for entry in described.modalities if entry.map}  # fmt: skip
    members = [_member(described, maps) for _ in range(count)]
    return FoldEnsemble(members, described.inner_folds) if described.inner_folds else members[0]


def _member(described: Description, maps: dict[str, InputMap]) -> nn.Module:
    settings, modalities = described.settings, [entry.modality for entry in described.modalities]
    embed = typed(EmbedConfig, settings["embed"])
    items = {entry.name: item_parts(entry, embed) for entry in modalities if entry.kind in {"documents", "images"}}
    beside = [entry.name for entry in described.modalities if entry.beside]
    baseline = typed(BaselineConfig, settings["baseline"])
    if baseline.name == "none":
        return MMNARModel(
            modalities,
            len(described.tasks),
            typed(ModelConfig, settings["model"]),
            auxiliary=described.auxiliary,
            maps=maps,
            items=items,
            patterns=described.patterns,
            beside=beside,
        )
    found = BASELINES.get(baseline.name)
    if not isinstance(found, NetworkBaseline):
        raise SavedModelError(
            f"baseline.name={baseline.name}: a model folder does not import code of other packages; build the module "
            "yourself and load the tensors of its weights.safetensors"
        )
    prior = torch.zeros(len(described.tasks))
    inputs = BaselineInputs(
        modalities=modalities, tasks=described.tasks, prior=prior, maps=maps, items=items, beside=beside
    )
    return found.build(inputs, baseline)


def _map(kind: str, state: dict[str, Tensor], width: int) -> InputMap:
    if kind == "projection":
        return Projection(state["axes"])
    restored = PiecewiseLinear.restored(state, width)
    load_weights(restored, state, WEIGHTS)
    return restored


def _rectifier(described: Description, config: RectifierConfig, state: dict[str, Tensor], place: str) -> Rectifier:
    rectifier = Rectifier(len(described.tasks), len(described.modalities), described.patterns, 1, config)
    empty = {name: value for name, value in rectifier.state_dict().items() if name in OF_SUBJECTS}
    load_weights(rectifier, {**state, **empty}, place)
    return rectifier
