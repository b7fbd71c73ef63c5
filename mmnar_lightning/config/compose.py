"""Composes a configuration from defaults < YAML files < key=value words; converts it to YAML and plain values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from data_modules.errors import UserError
from data_modules.settings import expand, refuse_interpolation
from data_modules.vocabulary import check_name
from mmnar_lightning.config import hints, keys
from mmnar_lightning.config.experiment import (
    SIMULATED,
    ConfigError,
    ExperimentConfig,
    datasets,
)
from mmnar_lightning.config.layers import below, config_class, file_of_all, kinds, read, refuse_renamed
from mmnar_lightning.config.places import experiment_file, experiments_folders, known_experiments
from mmnar_lightning.config.renamed import explain_experiment
from mmnar_lightning.config.text import quote_word
from mmnar_lightning.config.yaml_files import check_word

HUB_NAME = re.compile(r"(hf-hub:)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[0-9a-f]{40})?")
"""A model of the hub: owner and name."""


def load(words: Sequence[str]) -> ExperimentConfig:
    """Compose the configuration of a command line.

    Args:
        words: `key=value` words. `dataset=` or `experiment=` selects `experiments/<name>.yaml`; `experiment=` may be
            the path of a YAML file, for example the config.yaml of a run. In `experiment=mimic,baselines/late_fusion`
            later files override earlier ones; without an experiment among them, the dataset's own is the base.

    Returns:
        The configuration.

    Raises:
        ConfigError: naming the full key, the given and the expected value, or the new name of the key.
    """
    try:
        asked = _parse(words)
        _check_dataset(asked.get("dataset", "mimic"))
        layers = _files(asked)
        dataset = next((layer.dataset for layer in (asked, *reversed(layers)) if "dataset" in layer), "mimic")
        _check_dataset(dataset)
        config = OmegaConf.to_object(_merged(dataset, layers, asked))
        assert isinstance(config, ExperimentConfig)
        refuse_interpolation(to_plain(config), "the settings")  # ${a}{oc.env:HOME} is one where a is a dollar sign
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, words)) from error
    except UserError as error:
        raise ConfigError(str(error)) from error
    config.given = frozenset(word.partition("=")[0] for word in words)
    return config


def _parse(words: Sequence[str]) -> DictConfig:
    """Parse the words of a command line; a later one overrides an earlier one."""
    for word in words:
        if "=" not in word or word.startswith("="):
            raise ConfigError(f"{word!r} is not a setting; settings are key=value, for example trainer.max_epochs=20")
    return OmegaConf.from_dotlist([_readable(word) for word in words])


@lru_cache(maxsize=4096)
def _readable(word: str) -> str:
    """A word whose text is quoted; sweeps and tables give the same words many times."""
    readable = quote_word(word, kinds())
    check_word(word, readable)
    try:
        refuse_renamed(OmegaConf.from_dotlist([readable]), word)
    except YAMLError as error:
        raise ConfigError(f"{word}: the value is not readable; quote it as YAML") from error
    return readable


def _check_dataset(dataset: Any) -> None:
    if dataset not in datasets():
        raise ConfigError(f"dataset={dataset}: expected one of {', '.join(datasets())}")


def _merged(dataset: str, layers: Sequence[DictConfig], asked: DictConfig) -> Any:
    """All layers, and that of simulated data where there is no release.

    Merging takes most of the time: it is done once unless a layer sets what this depends on.

    Returns:
        The settings.
    """
    lowest, above = below(dataset), (*layers[1:], asked)
    root = f"paths.{dataset}_root"
    decides = {root, "paths", "simulate", "simulate.images"}
    known: Any = lowest
    if any(decides & {*flatten(_raw(layer))} for layer in above):
        known = OmegaConf.merge(lowest, *above)
    simulated = dataset in SIMULATED and not OmegaConf.select(known, root)
    if simulated and (layer := _simulated(layers, known)):
        return OmegaConf.merge(lowest, layer, *above)
    return OmegaConf.merge(lowest, *above) if known is lowest else known


def _raw(layer: DictConfig) -> dict[Any, Any]:
    plain = OmegaConf.to_container(layer)
    assert isinstance(plain, dict)
    return plain


def _simulated(layers: Sequence[DictConfig], merged: Any) -> DictConfig | None:
    """The layer for a run without a release; a resolved configuration of such a run already includes it.

    Without the JPEG files images are read as the embeddings that a simulated release always has.

    Returns:
        The layer; None if it is included.
    """
    if any(layer.get("simulated", False) for layer in layers):
        return None
    images = [] if OmegaConf.select(merged, "simulate.images") else ["embed.image.encoder=release"]
    layer = OmegaConf.merge(read(file_of_all("simulated")), OmegaConf.from_dotlist(images))
    assert isinstance(layer, DictConfig)
    return layer


def to_plain(config: ExperimentConfig) -> dict[str, Any]:
    """Convert the configuration to nested plain values."""
    return {setting.name: _plain(getattr(config, setting.name)) for setting in fields(config)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {setting.name: _plain(getattr(value, setting.name)) for setting in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def loggable(config: ExperimentConfig) -> dict[str, Any]:
    """Convert the configuration to nested plain values, without paths of this machine."""
    plain = {key: value for key, value in to_plain(config).items() if key not in {"paths", "run", "resume"}}
    named: dict[str, Any] = without_folders(plain)
    return named


def without_folders(value: Any, key: str = "") -> Any:
    """Reduce paths in nested plain values to their last component, since folders can name people and projects.

    Args:
        value: of a setting or a group.
        key: of the value; `model` may be a model of the hub, `owner/name`, which is kept.

    Returns:
        The same values without folders.

    >>> without_folders({"model": "owner/name", "weights": "private/weights.pt", "file": "~/of/a.yaml", "lr": 0.1})
    {'model': 'owner/name', 'weights': 'weights.pt', 'file': 'a.yaml', 'lr': 0.1}
    """
    if isinstance(value, Mapping):
        return {name: without_folders(entry, str(name)) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(entry, key) for entry in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    is_of_hub = key == "model" and HUB_NAME.fullmatch(value) and not Path(value).exists()
    return value if is_of_hub else Path(value).name


def save(config: ExperimentConfig, path: Path) -> None:
    """Write the resolved configuration; `experiment=<that file>` repeats the run."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(to_plain(config))), encoding="utf-8")


def _files(asked: DictConfig) -> list[DictConfig]:
    """base.yaml and the files that `experiment` lists; later ones override earlier ones."""
    experiment = expand(str(asked.get("experiment", asked.get("dataset", "mimic"))))
    names = [experiment] if Path(experiment).is_file() else experiment.split(",")
    if all("/" in name and not name.endswith((".yaml", ".yml")) for name in names):
        names.insert(0, str(asked.get("dataset", "mimic")))
    paths = [_find_file(name) for name in names]
    layers = [read(path) for path in paths]
    _check_one_dataset(dict(zip(names, layers, strict=True)), asked)
    stems = [_stem(path, layer) for path, layer in zip(paths, layers, strict=True)]
    for path, stem in zip(paths, stems, strict=True):
        check_name(f"{path}: experiment", stem)
    asked["experiment"] = "-".join(stems)
    return [read(file_of_all("base")), *layers]


def _find_file(name: str) -> Path:
    """The YAML file of a name in experiments/, or of a path."""
    is_path = name.endswith((".yaml", ".yml"))
    file = Path(expand(name)) if is_path else experiment_file(f"{name}.yaml")
    if file is None or not file.is_file():
        if sentence := explain_experiment(name):
            raise ConfigError(f"experiment={name}: {sentence}")
        lacking = file if file is not None else " or ".join(str(own / f"{name}.yaml") for own in experiments_folders())
        raise ConfigError(f"experiment={name}: there is no {lacking}; known are {', '.join(known_experiments())}")
    return file


def _stem(path: Path, layer: DictConfig) -> str:
    """The experiment's name in a file; for a file of experiments/, its file name."""
    return path.stem if set(experiments_folders()) & {*path.parents} else str(layer.get("experiment", path.stem))


def _check_one_dataset(layers: Mapping[str, DictConfig], asked: DictConfig) -> None:
    stated = {name: layer["dataset"] for name, layer in layers.items() if "dataset" in layer}
    if len(set(stated.values())) > 1:
        listed = ", ".join(f"{name} for dataset={dataset}" for name, dataset in stated.items())
        raise ConfigError(f"experiment={','.join(layers)} mixes experiments of several datasets ({listed}); name one")
    for name, dataset in stated.items():
        if "dataset" in asked and asked["dataset"] != dataset:
            raise ConfigError(f"experiment={name} is for dataset={dataset}, but dataset={asked['dataset']} was given")


def _explain(error: OmegaConfBaseException, words: Sequence[str]) -> str:
    """Explain an OmegaConf error with the full key and, for an unknown key, the one that it stands for."""
    key = str(getattr(error, "full_key", None) or "")
    given = next((word for word in words if word.startswith(f"{key}=")), str(key))
    group = next((word for word in words if _names_group(word)), "")
    if group and not key:
        return f"{group}: this is a group of settings; name one of them, for example {_example(group)}"
    if isinstance(error, ConfigKeyError):
        by_dataset = {dataset: [name for name, *_ in keys.walk(config_class(dataset))] for dataset in datasets()}
        if owners := [dataset for dataset, names in by_dataset.items() if key in names]:
            return f"{given}: {key} is a setting of dataset={' and dataset='.join(owners)} alone"
        known = [name for names in by_dataset.values() for name in names]
        near = hints.meant(key, known)
        hint = f"did you mean {near}?" if near else _neighbours(key, known)
        return f"{given}: unknown setting {key!r}; {hint}"
    if "ListConfig" in str(error):
        return f"{given}: expected a list, for example {key}=[{given.partition('=')[2] or 'a,b'}]"
    return f"{given or 'a YAML file'}: {str(error).splitlines()[0]}"


def _neighbours(key: str, known: Sequence[str]) -> str:
    """List the settings of a key's group, or all groups if there is no such group."""
    group = key.rpartition(".")[0]
    siblings = [name for name in dict.fromkeys(known) if group and name.rpartition(".")[0] == group]
    if siblings:
        return f"known settings of {group} are {', '.join(name.rpartition('.')[2] for name in siblings)}"
    return f"known keys begin with {', '.join(part.name for part in fields(ExperimentConfig))}"


def _names_group(word: str) -> bool:
    """Whether a word assigns one value to a group of settings."""
    key = word.partition("=")[0]
    return any(key in keys.groups(config_class(dataset)) for dataset in datasets())


def _example(word: str) -> str:
    key = word.partition("=")[0]
    known = (name for dataset in datasets() for name in keys.settings(config_class(dataset)))
    return next(name for name in known if name.startswith(f"{key}."))


def flatten(plain: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested values.

    Returns:
        Full key -> value.

    >>> flatten({"optim": {"lr": 0.1}, "seed": 1})
    {'optim.lr': 0.1, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
