"""The configuration of an experiment: dataclass defaults < YAML files < key=value words."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its types are a package that nothing else needs

from data_modules.cohorts.config import CohortConfig
from data_modules.cohorts.eicu import EICUCohortConfig
from data_modules.cohorts.mimic_iv import MIMICCohortConfig
from data_modules.custom import CustomCohortConfig
from data_modules.loader import LoaderConfig
from data_modules.simulate.config import SimulateConfig
from mmnar_lightning.embed.config import EmbedConfig
from mmnar_lightning.model import ModelConfig
from mmnar_lightning.objective import ObjectiveConfig
from mmnar_lightning.optim import OptimConfig
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rivals.config import RivalConfig
from mmnar_lightning.sweeps.config import SweepConfig

COHORT_CONFIGS: dict[str, type[CohortConfig]] = {
    "mimic": MIMICCohortConfig,
    "eicu": EICUCohortConfig,
    "custom": CustomCohortConfig,
}
"""Dataset -> the settings of its cohort."""

MAX_SEED = 2**32
"""The generators of PyTorch on a CPU read 32 bits of a seed."""

ROOT_KEYS = {"mimic": "paths.mimic_root", "eicu": "paths.eicu_root"}
"""Dataset -> the setting that names its release; where that is empty, a simulated one takes its place."""


REPLACEABLE = ("objective.", "optim.", "trainer.")
"""Settings that `resume_with` may name: a checkpoint can go on under others."""


class ConfigError(ValueError):
    """A setting is unknown or makes no sense: its full key, what was given, what was expected."""


@dataclass(kw_only=True)
class PathsConfig:
    """Where things lie."""

    data: str = "data"
    """Cohorts and embedding stores."""
    runs: str = "runs"
    """One folder a run."""
    mimic_root: str = field(default_factory=lambda: os.environ.get("MIMIC_ROOT", ""))
    """Folders of MIMIC-IV, separated by ':'; taken from MIMIC_ROOT where it is not set."""
    eicu_root: str = field(default_factory=lambda: os.environ.get("EICU_ROOT", ""))
    """Folders of eICU-CRD, separated by ':'; taken from EICU_ROOT where it is not set."""
    cohort: str = field(default_factory=lambda: os.environ.get("COHORT", ""))
    """Folder of someone else's cohort, for dataset=custom."""


@dataclass(kw_only=True)
class TrainerConfig:
    """How long to train, and on what."""

    max_epochs: int = 100
    """Most epochs."""
    patience: int = 15
    """Epochs without a better validation AUROC before training stops."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Kind of device."""
    devices: int = 1
    """Devices of each machine that train together; torchrun and srun say it themselves."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How they do; `auto` is `ddp` for several. `fsdp` shards the weights of large trained backbones over GPUs."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Number format of the forward pass."""
    accumulate: int = 1
    """Parts that the global batch of a step is taken in, one after the other, so that a larger one fits into memory."""
    checkpoint_every_steps: int = 0
    """Save within an epoch too, after so many steps, so that a killed run loses no more; 0 saves at its end alone."""
    progress_bar: bool = True
    """Show one."""

    def __post_init__(self) -> None:
        """Refuse counts below one, and sharding where there is no GPU."""
        if self.checkpoint_every_steps < 0:
            raise ValueError(f"trainer.checkpoint_every_steps={self.checkpoint_every_steps} must be at least 0")
        if self.strategy == "fsdp" and self.accelerator in {"cpu", "mps"}:
            raise ValueError(
                f"trainer.strategy=fsdp shards over GPUs, but trainer.accelerator={self.accelerator}; use ddp"
            )
        for key in ("max_epochs", "patience", "devices", "accumulate"):
            if getattr(self, key) < 1:
                raise ValueError(f"trainer.{key}={getattr(self, key)} must be at least 1")


@dataclass(kw_only=True)
class EvaluationConfig:
    """How the test split is scored."""

    protocol: Literal["split", "kfold", "leave_pattern_out"] = "split"
    """One test split; one run for each of `cohort.split.num_folds` folds, in which that fold is test; or one run for
    each missingness pattern, which learns from the others and is tested on it."""
    num_seeds: int = 1
    """Runs that differ in their seed alone: `seed`, `seed` + 1, ...; their metrics are averaged."""
    num_replicates: int = 1000
    """Bootstrap replicates of every interval."""
    part: int | None = None
    """Of the runs of a protocol only this one, from 0: an array of jobs shares them; who finishes last gathers."""

    def __post_init__(self) -> None:
        """Refuse no run at all, and intervals of too few replicates."""
        if self.part is not None and self.part < 0:
            raise ValueError(f"evaluation.part={self.part} must be at least 0")
        if self.num_seeds < 1:
            raise ValueError(f"evaluation.num_seeds={self.num_seeds} must be at least 1")
        if self.num_replicates < 100:
            raise ValueError(f"evaluation.num_replicates={self.num_replicates} must be at least 100")


@dataclass(kw_only=True)
class TransferConfig:
    """Another cohort, on whose test split the trained model is scored as well (docs/transfer.md)."""

    target: str = ""
    """Experiment on whose cohort the model is tested as well, a name or a YAML file; empty is none."""
    rectifier: Literal["target", "source"] = "target"
    """The target's rectifier: fitted again on the target's calibration split, or carried over."""

    def __post_init__(self) -> None:
        """Refuse a rectifier for a target that is not there."""
        if self.rectifier == "source" and not self.target:
            raise ValueError("transfer.rectifier=source needs transfer.target, the cohort to carry it over to")


@dataclass(kw_only=True)
class PrivacyConfig:
    """What must not leave the machine."""

    min_count: int = 10
    """Cells with fewer rows are masked everywhere but in the local results.json."""

    def __post_init__(self) -> None:
        """Refuse a negative count."""
        if self.min_count < 0:
            raise ValueError(f"privacy.min_count={self.min_count} must be at least 0")


@dataclass(kw_only=True)
class WandbConfig:
    """The W&B logger; offline unless WANDB_API_KEY is set, and never a prompt."""

    enabled: bool = True
    """Whether to log to W&B at all; the CSV logger is always on."""
    project: str = "mmnar"
    """Project of the runs."""
    entity: str | None = None
    """Team or user; null is the key's own."""
    tags: list[str] = field(default_factory=list)
    """Tags of the run."""


@dataclass(kw_only=True)
class ExperimentConfig:
    """Everything that a run is made from."""

    dataset: Literal["mimic", "eicu", "custom"] = "mimic"
    """The source of the cohort."""
    experiment: str = "mimic"
    """Name of the experiment; runs are gathered under it."""
    seed: int = 0
    """Of weights, order of rows and bootstrap."""
    evaluate: bool = True
    """Read the test split at the end of training."""
    simulated: bool = False
    """Set where no release was named: one is simulated, and experiments/simulated.yaml read first."""
    out: str = ""
    """For simulate: the folder to write the release into."""
    resume: str = ""
    """Empty goes on with the newest unfinished run of these settings, `new` starts one; `last` or a folder names it."""
    resume_with: list[str] = field(default_factory=list)
    """Settings that may differ from those of the resumed run, for example `[optim.lr]`; others are refused."""
    run: str = ""
    """For evaluate: the run folder; empty is the newest run of the experiment."""
    paths: PathsConfig = field(default_factory=PathsConfig)
    cohort: CohortConfig = field(default_factory=CohortConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    rival: RivalConfig = field(default_factory=RivalConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    rectifier: RectifierConfig = field(default_factory=RectifierConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        """Refuse a seed that some generator would not take, and a fold where every fold is run."""
        for key in self.resume_with:
            if not key.startswith(REPLACEABLE):
                raise ValueError(
                    f"resume_with=[{key}]: a checkpoint can go on only under other {', '.join(REPLACEABLE)}*; start a "
                    "new run for any other change"
                )
        if not 0 <= self.seed <= MAX_SEED - self.evaluation.num_seeds:
            raise ValueError(f"seed={self.seed} must be in [0, {MAX_SEED}), evaluation.num_seeds of them")
        protocol = self.evaluation.protocol
        if self.transfer.target and protocol != "split":
            raise ValueError(
                f"transfer.target={self.transfer.target}: every run's model would be tested on the same target; use "
                "evaluation.protocol=split"
            )
        if self.transfer.rectifier == "source" and self.rectifier.fit == "none":
            raise ValueError("transfer.rectifier=source carries over a rectifier, but rectifier.fit=none fits none")
        if protocol != "split" and self.rectifier.fit == "crossfit":
            raise ValueError(
                f"rectifier.fit=crossfit cannot be used with evaluation.protocol={protocol}: both are several "
                "runs; use rectifier.fit=calibration"
            )
        if protocol == "leave_pattern_out" and self.loader.held_pattern is not None:
            raise ValueError(
                "evaluation.protocol=leave_pattern_out holds out every pattern, but loader.held_pattern="
                f"{self.loader.held_pattern} names one; leave it out, or run that alone with evaluation.protocol=split"
            )
        if protocol == "kfold":
            for key in ("test_fold", "crossfit_fold"):
                fold = getattr(self.cohort.split, key)
                if fold is not None:
                    raise ValueError(
                        f"evaluation.protocol=kfold runs every fold, but cohort.split.{key}={fold} names one; leave it "
                        "out, or run that fold alone with evaluation.protocol=split"
                    )


def load(words: Sequence[str]) -> ExperimentConfig:
    """Compose the configuration of a command line.

    Args:
        words: `key=value` words. `dataset=` or `experiment=` picks experiments/<name>.yaml; `experiment=` may be
            the path of a YAML file, for example the config.yaml of a run. `experiment=mimic,rivals/late_fusion` lays
            later files over earlier ones; without an experiment among them, the dataset's own lies beneath.

    Raises:
        ConfigError: naming the full key, what was given and what was expected.
    """
    for word in words:
        if "=" not in word or word.startswith("="):
            raise ConfigError(f"{word!r} is not a setting; settings are key=value, for example trainer.max_epochs=20")
    try:
        asked = OmegaConf.from_dotlist(list(words))
        _check_dataset(asked.get("dataset", "mimic"))
        layers = _files(asked)
        dataset = next((layer.dataset for layer in (asked, *reversed(layers)) if "dataset" in layer), "mimic")
        _check_dataset(dataset)
        schema = _schema(dataset)
        root = ROOT_KEYS.get(dataset)
        if root is not None and not OmegaConf.select(OmegaConf.merge(schema, *layers, asked), root):
            layers[1:1] = _simulated(layers)
        merged = OmegaConf.merge(schema, *layers, asked)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise _explain(error, words) from error
    except YAMLError as error:
        raise ConfigError(f"{_unreadable(words)}: the value is not readable; quote it as YAML") from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    assert isinstance(config, ExperimentConfig)
    return config


def _check_dataset(dataset: Any) -> None:
    if dataset not in list(COHORT_CONFIGS):
        raise ConfigError(f"dataset={dataset}: expected one of {', '.join(COHORT_CONFIGS)}")


def _simulated(layers: Sequence[DictConfig]) -> list[DictConfig]:
    """The settings of a run without a release; a resolved configuration of such a run has them already."""
    if any(layer.get("simulated", False) for layer in layers):
        return []
    return [_read(experiments_folder() / "simulated.yaml")]


def to_plain(config: ExperimentConfig) -> dict[str, Any]:
    """The configuration as nested plain values."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def shared_settings(dataset: str) -> dict[str, Any]:
    """What every experiment on a dataset begins with, as nested plain values: the defaults, and base.yaml over them."""
    shared = OmegaConf.merge(_schema(dataset), _read(experiments_folder() / "base.yaml"))
    plain = OmegaConf.to_container(shared)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def save(config: ExperimentConfig, path: Path) -> None:
    """Write the resolved configuration; `experiment=<that file>` repeats the run."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(to_plain(config))), encoding="utf-8")


def experiments_folder() -> Path:
    """Where the YAML files lie: here, in the checkout, or in the installed package."""
    package = Path(__file__).resolve().parent
    for folder in (Path.cwd() / "experiments", package.parent / "experiments", package / "_experiments"):
        if (folder / "base.yaml").is_file():
            return folder
    raise ConfigError("no experiments/base.yaml here, in the checkout or in the package; install it again")


def _schema(dataset: str) -> DictConfig:
    """The structured configuration with the cohort settings of a dataset in its place."""
    schema: DictConfig = OmegaConf.structured(_typed(dataset))
    # From the class, not from an instance, whose __post_init__ would already have chosen the tasks of a landmark.
    schema.cohort = OmegaConf.structured(COHORT_CONFIGS[dataset])
    return schema


@cache
def _typed(dataset: str) -> type:
    """The class of a dataset's configurations: one, so that equal settings compare equal."""
    cohort = COHORT_CONFIGS[dataset]
    return make_dataclass(
        "ExperimentConfig",
        [("cohort", cohort, field(default_factory=cohort))],
        bases=(ExperimentConfig,),
        kw_only=True,
    )


def _files(asked: DictConfig) -> list[DictConfig]:
    """base.yaml, and the files that `experiment` lists, the later ones over the earlier ones."""
    given = str(asked.get("experiment", asked.get("dataset", "mimic")))
    folder = experiments_folder()
    names = [given] if Path(given).is_file() else given.split(",")
    if all("/" in name and not name.endswith((".yaml", ".yml")) for name in names):
        names.insert(0, str(asked.get("dataset", "mimic")))
    own = [_named(name, folder) for name in names]
    layers = [_read(path) for path in own]
    _check_one_dataset(dict(zip(names, layers, strict=True)), asked)
    name = "-".join(_stem(path, layer, folder) for path, layer in zip(own, layers, strict=True))
    layers[-1]["experiment"] = asked["experiment"] = name
    return [_read(folder / "base.yaml"), *layers]


def _named(name: str, folder: Path) -> Path:
    """The YAML file of a name in experiments/, or of a path."""
    own = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not own.is_file():
        there = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
        raise ConfigError(f"experiment={name}: there is no {own}; known are {', '.join(there)}")
    return own


def _stem(path: Path, layer: DictConfig, folder: Path) -> str:
    """What a file calls itself; one of experiments/ goes by its name."""
    return path.stem if folder in path.parents else str(layer.get("experiment", path.stem))


def _check_one_dataset(layers: Mapping[str, DictConfig], asked: DictConfig) -> None:
    stated = {name: layer["dataset"] for name, layer in layers.items() if "dataset" in layer}
    if len(set(stated.values())) > 1:
        said = ", ".join(f"{name} for dataset={dataset}" for name, dataset in stated.items())
        raise ConfigError(f"experiment={','.join(layers)} mixes experiments of several datasets ({said}); name one")
    for name, dataset in stated.items():
        if "dataset" in asked and asked["dataset"] != dataset:
            raise ConfigError(f"experiment={name} is for dataset={dataset}, but dataset={asked['dataset']} was given")


def _read(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)
    except YAMLError as error:
        raise ConfigError(f"{path}: this file is not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected keys and values")
    return loaded


def _explain(error: OmegaConfBaseException, words: Sequence[str]) -> ConfigError:
    """Say an OmegaConf error with the full key, and the nearest key where the key is unknown."""
    key = str(getattr(error, "full_key", None) or "")
    given = next((word for word in words if word.startswith(f"{key}=")), str(key))
    group = next((word for word in words if _names_group(word)), "")
    if group and not key:
        return ConfigError(f"{group}: this is a group of settings; name one of them, for example {_example(group)}")
    if isinstance(error, ConfigKeyError):
        known = [name for dataset in COHORT_CONFIGS for name in _keys(_schema(dataset))]
        near = get_close_matches(key, known, n=1)
        roots = ", ".join(part.name for part in fields(ExperimentConfig))
        hint = f"; did you mean {near[0]}?" if near else f"; known keys begin with {roots}"
        return ConfigError(f"{given}: unknown setting {key!r}{hint}")
    if "ListConfig" in str(error):
        return ConfigError(f"{given}: expected a list, for example {key}=[{given.partition('=')[2] or 'a,b'}]")
    return ConfigError(f"{given or 'a YAML file'}: {str(error).splitlines()[0]}")


def _names_group(word: str) -> bool:
    """Whether a word gives one value to a group of settings."""
    key = word.partition("=")[0]
    return any(isinstance(OmegaConf.select(_schema(dataset), key), DictConfig) for dataset in COHORT_CONFIGS)


def _example(word: str) -> str:
    key = word.partition("=")[0]
    return next(name for dataset in COHORT_CONFIGS for name in _keys(_schema(dataset)) if name.startswith(f"{key}."))


def _unreadable(words: Sequence[str]) -> str:
    """The first word whose value is not YAML."""
    for word in words:
        try:
            OmegaConf.from_dotlist([word])
        except YAMLError:
            return word
    return " ".join(words)


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for name in map(str, node):
        full = f"{prefix}{name}"
        keys.append(full)
        value = node._get_node(name)
        if isinstance(value, DictConfig) and not value._is_none():
            keys.extend(_keys(value, f"{full}."))
    return keys
