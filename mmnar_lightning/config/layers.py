"""The layers below every configuration: the schema of a dataset, the environment and base.yaml; and those of files.

What is read and merged once is kept: sweeps and tables compose hundreds of configurations from a few files.
"""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, make_dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_modules.settings import refuse_interpolation
from mmnar_lightning.config import keys
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig, PathsConfig, cohort_config, datasets
from mmnar_lightning.config.places import experiment_file
from mmnar_lightning.config.renamed import explain_all
from mmnar_lightning.config.yaml_files import checked

File = tuple[Path, str]
"""Path and text of a YAML file."""


class _Kept:
    """Merged settings that are copied from bytes, in a quarter of the time that `copy.deepcopy` takes.

    Args:
        settings: whose classes, made by `config_class`, are kept as they are.
    """

    def __init__(self, settings: DictConfig) -> None:
        self.classes: list[type] = []
        content = io.BytesIO()
        pickler = pickle.Pickler(content, pickle.HIGHEST_PROTOCOL)
        pickler.persistent_id = self._place_of  # type: ignore[method-assign]
        pickler.dump(settings)
        self.content = content.getvalue()

    def _place_of(self, value: Any) -> int | None:
        """The place of a class in the list; None for any other value."""
        if not isinstance(value, type):
            return None
        if value not in self.classes:
            self.classes.append(value)
        return self.classes.index(value)

    def copy(self) -> DictConfig:
        """Settings of one's own."""
        unpickler = pickle.Unpickler(io.BytesIO(self.content))
        unpickler.persistent_load = self.classes.__getitem__  # type: ignore[method-assign]
        settings = unpickler.load()
        assert isinstance(settings, DictConfig)
        return settings

    @cached_property
    def plain(self) -> Mapping[str, Any]:
        """The same as nested plain values, to be read."""
        return {str(key): value for key, value in _plain(self.copy()).items()}


def shared_settings(dataset: str) -> Mapping[str, Any]:
    """The defaults of every experiment on a dataset, overridden by base.yaml, as nested plain values, to be read."""
    return _lowest(dataset).plain


def merged(dataset: str, files: Sequence[File]) -> DictConfig:
    """The defaults of a dataset, the environment, base.yaml and further files, merged.

    Args:
        dataset: name.
        files: later ones override earlier ones.

    Returns:
        The settings, which the caller may change.
    """
    settings = _lowest(dataset).copy()
    settings.merge_with(*(read(one) for one in files))
    return settings


def _lowest(dataset: str) -> _Kept:
    """The defaults of a dataset, the environment and base.yaml, as they are now."""
    return _merged(dataset, json.dumps(_environment()), file(file_of_all("base")))


@lru_cache(maxsize=32)
def _merged(dataset: str, environment: str, base: File) -> _Kept:
    settings = OmegaConf.merge(_schema(dataset), json.loads(environment), read(base))
    assert isinstance(settings, DictConfig)
    return _Kept(settings)


@cache
def _schema(dataset: str) -> DictConfig:
    """The structured configuration with the cohort settings of a dataset; merging copies it."""
    schema: DictConfig = OmegaConf.structured(config_class(dataset))
    # From the class, not from an instance, whose __post_init__ would already have chosen the tasks of a landmark.
    schema.cohort = OmegaConf.structured(cohort_config(dataset))
    return schema


def _environment() -> dict[str, Any]:
    """The folders that environment variables name now, which may differ from when the schema was made."""
    found = {"paths": asdict(PathsConfig())}
    refuse_interpolation(found, "the environment")
    return found


@cache
def config_class(dataset: str) -> type:
    """The configuration class of a dataset; cached, so that equal settings compare equal.

    Args:
        dataset: name.

    Returns:
        The class.
    """
    cohort = cohort_config(dataset)
    return make_dataclass(
        "ExperimentConfig",
        [("cohort", cohort, field(default_factory=cohort))],
        bases=(ExperimentConfig,),
        kw_only=True,
    )


@cache
def kinds() -> Mapping[str, Any]:
    """Full key -> declared type of every setting, those of one modality included as `embed.modalities.*.<setting>`."""
    found: dict[str, Any] = {}
    for dataset in datasets():
        found |= keys.kinds(config_class(dataset))
    for key, kind in list(found.items()):
        if key.startswith(("embed.text.", "embed.image.")):
            found[f"embed.modalities.*.{key.rpartition('.')[2]}"] = kind
    return found


def file_of_all(name: str) -> Path:
    """A file that experiments begin with.

    Args:
        name: `base`, or `simulated`.

    Returns:
        Its path.
    """
    file = experiment_file(f"{name}.yaml")
    assert file is not None
    return file


def file(path: Path) -> File:
    """A YAML file as it is now.

    Args:
        path: of the file.

    Returns:
        Its path and text.
    """
    return path, path.read_text(encoding="utf-8")


@lru_cache(maxsize=256)
def read(found: File) -> DictConfig:
    """Read the settings of a YAML file.

    Args:
        found: the file.

    Returns:
        The settings, not to be changed.

    Raises:
        ConfigError: for a file without keys, with old ones, or with what `checked` refuses.
    """
    path, text = found
    loaded = OmegaConf.create(checked(text, path, kinds()))
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected keys and values")
    refuse_renamed(loaded, str(path))
    return loaded


def refuse_renamed(settings: DictConfig, source: str) -> None:
    """Refuse settings under old names.

    Args:
        settings: as read, before they are merged.
        source: file or word that they come from.

    Raises:
        ConfigError: naming the source, the old keys and the remedy.
    """
    if sentence := explain_all(_plain(settings)):
        raise ConfigError(f"{source}: {sentence}")


def _plain(settings: DictConfig) -> dict[Any, Any]:
    plain = OmegaConf.to_container(settings)
    assert isinstance(plain, dict)
    return plain
