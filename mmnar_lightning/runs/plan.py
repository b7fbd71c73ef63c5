"""Plans the runs of a protocol and the settings of each (docs/protocols.md)."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from data_modules import patterns
from data_modules.vocabulary import check_name
from mmnar_lightning.config.experiment import ConfigError, EvaluationConfig, ExperimentConfig
from mmnar_lightning.runs.build import build_datamodule

LEAVE_PATTERN_OUT = "leave_pattern_out"
FOLDED = ("kfold", "temporal", LEAVE_PATTERN_OUT)
"""Protocols in which each run tests different rows."""


@dataclass(frozen=True)
class Child:
    """One run of a protocol.

    Attributes:
        name: of its folder.
        seed: of the run.
        fold: held-out fold, of a temporal protocol the first of them; None without folds.
        pattern: label of the held-out pattern; None without one.
        present: names of that pattern's modalities.
    """

    name: str
    seed: int
    fold: int | None
    pattern: str | None = None
    present: list[str] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is no folder, in a folder's children.json."""
        check_name("children.json: name", self.name)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values, without the pattern if none is held out."""
        return {name: value for name, value in asdict(self).items() if name == "fold" or value is not None}


def protocol_of(config: ExperimentConfig) -> str | None:
    """`kfold`, `temporal`, `leave_pattern_out`, `crossfit` or `seeds`; None for a single run."""
    if config.evaluation.protocol != "split":
        return config.evaluation.protocol
    if config.rectifier.fit == "crossfit" and config.cohort.split.crossfit_fold is None:
        return "crossfit"
    return "seeds" if config.evaluation.num_seeds > 1 else None


def plan(config: ExperimentConfig, protocol: str) -> list[Child]:
    """List the runs of a protocol, seed by seed."""
    parts: list[dict[str, Any]]
    if protocol == LEAVE_PATTERN_OUT:
        parts = [
            {"suffix": f"-without-{label}", "fold": fold, "pattern": label, "present": present}
            for fold, (label, present) in enumerate(_held_patterns(config).items())
        ]
    elif protocol == "temporal":
        parts = [{"suffix": f"-from{fold}", "fold": fold} for fold in range(1, config.cohort.split.num_folds)]
    elif protocol == "seeds":
        parts = [{"suffix": "", "fold": None}]
    else:
        parts = [{"suffix": f"-fold{fold}", "fold": fold} for fold in range(config.cohort.split.num_folds)]
    return [
        Child(
            name=f"seed{seed}{part['suffix']}",
            seed=seed,
            fold=part["fold"],
            pattern=part.get("pattern"),
            present=part.get("present"),
        )
        for seed in range(config.seed, config.seed + config.evaluation.num_seeds)
        for part in parts
    ]


def _held_patterns(config: ExperimentConfig) -> dict[str, list[str]]:
    """Find the patterns to hold out: those with test rows, and with train rows of other patterns.

    Returns:
        Label -> present modalities, the most frequent pattern first.

    Raises:
        ConfigError: for fewer than two patterns.
    """
    datamodule = build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    codes = patterns.encode(datamodule.cohort.arrays.present)
    tested = set(codes[datamodule.cohort.rows("test")].tolist())
    train = codes[datamodule.cohort.rows("train")]
    scored = {code: patterns.key(code) for code in datamodule.cohort.scored_patterns if code != patterns.REST}
    held = [code for code, own in scored.items() if own in tested and bool((train != own).any())]
    if len(held) < 2:
        raise ConfigError(
            f"evaluation.protocol={LEAVE_PATTERN_OUT}: the test split has {len(tested)} missingness patterns, but at "
            "least two patterns that can be left out are needed"
        )
    names = [modality.name for modality in datamodule.cohort.modalities]
    return {
        label: [name for name, bit in zip(names, label, strict=True) if bit == "1"]
        for label in (patterns.label(code, len(names)) for code in held)
    }


def child_config(config: ExperimentConfig, protocol: str, child: Child) -> ExperimentConfig:
    """The settings of one run, which can also run on its own."""
    split, loader = config.cohort.split, config.loader
    if protocol == "kfold":
        split = replace(split, test_fold=child.fold)
    if protocol == "temporal":
        split = replace(split, test_from=child.fold)
    if protocol == "crossfit":
        split = replace(split, crossfit_fold=child.fold)
    if protocol == LEAVE_PATTERN_OUT:
        loader = replace(loader, held_pattern=child.present)
    return replace(
        config,
        seed=child.seed,
        resume="",
        loader=loader,
        cohort=replace(config.cohort, split=split),
        evaluation=of_one_run(config),
    )


def of_one_run(config: ExperimentConfig) -> EvaluationConfig:
    """The evaluation settings of one run of a protocol."""
    return replace(config.evaluation, protocol="split", num_seeds=1, part=None)
