"""Compares a request with what was done before, so that saved results never answer another one."""

from pathlib import Path

from data_modules import stage
from data_modules.cohorts.build import BUILD
from mmnar_lightning.config.compose import flatten, load, to_plain
from mmnar_lightning.config.experiment import ConfigError, EvaluationConfig, ExperimentConfig
from mmnar_lightning.config.ignored import concerns
from mmnar_lightning.config.read_by import COMMANDS, EVERYWHERE, KEPT_FREE
from mmnar_lightning.console import warn
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.runs import build, folders, results, value_results


def refuse_other_settings(folder: Path, config: ExperimentConfig, command: str) -> None:
    """Refuse settings, given as words, that a run does not have and that a command keeps from it.

    Args:
        folder: of the run.
        config: of the request.
        command: for the message.

    Raises:
        ConfigError: with the setting of the request and that of the run.
    """
    if config.evaluation.elsewhere != "none":
        return  # the words name another cohort
    read = (*KEPT_FREE, *EVERYWHERE, *(key for key, commands in COMMANDS.items() if command in commands))
    named = (*folders.FIXED_KEYS, "dataset")
    given = sorted(name for name in config.given if not concerns(name, read) or name in named)
    if not given:
        return
    own, asked = (flatten(to_plain(one)) for one in (load([f"experiment={folder / folders.CONFIG}"]), config))
    for name in given:
        for key in (key for key in asked if concerns(key, [name])):
            if asked[key] != own.get(key):
                raise ConfigError(
                    f"{key}={asked[key]}: {folder} was trained with {key}={own.get(key)}, which `mmnar {command}` "
                    "keeps; omit it, or train with it"
                )


def refuse_other_target(folder: Path, trained: ExperimentConfig, config: ExperimentConfig) -> None:
    """Refuse a target that the run was not trained with.

    Args:
        folder: of the run.
        trained: its settings.
        config: of the request; an empty `transfer.target` asks for none in particular.

    Raises:
        ConfigError: with both targets.
    """
    asked, own = config.transfer.target, trained.transfer.target
    if asked and asked != own:
        raise ConfigError(
            f"transfer.target={asked}: {folder} was trained with transfer.target={own or '(none)'}, which `mmnar "
            "evaluate` keeps; train with this target, with resume=new"
        )


def refuse_unnamed_code(folder: Path, trained: ExperimentConfig, config: ExperimentConfig) -> None:
    """Refuse to import code of another package that only the run's folder names.

    Args:
        folder: of the run.
        trained: its settings.
        config: of the request, the user's own words and YAML files.

    Raises:
        ConfigError: naming the class.
    """
    name = trained.baseline.name
    if ":" in name and config.baseline.name != name:
        raise ConfigError(
            f"baseline.name={name}: {folder} was trained with code of another package, which is imported only where "
            f"you name it: add baseline.name={name}, or the experiment=FILE that has it"
        )


def refuse_other_request(folder: Path, config: ExperimentConfig) -> None:
    """Refuse a request that the saved results of a run do not answer.

    A setting that has its default asks for nothing in particular; where the results have another, a line says so.

    Args:
        folder: of an evaluated run.
        config: of the request.

    Raises:
        ConfigError: with what was asked for and what was done.
    """
    found, merged = results.read(folder), folders.settings_of(folder, config)
    refuse_other_target(folder, merged, config)
    differing = _differing(found, config)
    if differing:
        raise ConfigError(
            f"{folder} was evaluated before, with other settings ({'; '.join(differing)}); omit these, or remove "
            f"{folders.RESULTS} and {folders.DONE} there to score its test rows again"
        )
    done = found.intervals.num_replicates
    if done != config.evaluation.num_replicates:
        warn(f"these results have evaluation.num_replicates={done}")
    _refuse_other_cohort(folder, found, merged, config)


def _differing(found: Results, config: ExperimentConfig) -> list[str]:
    """What a request asks for and saved results lack."""
    lines = []
    if found.values is not None:
        value_results.refuse(config)
    done, asked = found.intervals.num_replicates, config.evaluation.num_replicates
    if asked not in {done, EvaluationConfig().num_replicates}:
        lines.append(f"evaluation.num_replicates: {done} before, {asked} now")
    if config.evaluation.blend and found.blend is None:
        lines.append("evaluation.blend: false before, true now")
    if not config.evaluation.subgroups and found.subgroups is not None:
        lines.append("evaluation.subgroups: true before, false now")
    if config.diagnostics.parts and "parts" not in (found.diagnostics or {}):
        lines.append("diagnostics.parts: false before, true now")
    return lines


def _refuse_other_cohort(folder: Path, found: Results, merged: ExperimentConfig, config: ExperimentConfig) -> None:
    """Refuse data, named in the request or the environment, that the run was not evaluated on."""
    named = config.paths.cohort if merged.dataset == "custom" else config.paths.root(merged.dataset)
    if not named or found.simulated or found.cohort is None:
        return
    cohort = stage.read_manifest(build.build_datamodule(merged).build(), BUILD)["fingerprint"]
    if cohort != found.cohort:
        raise ConfigError(
            f"{folder} was trained on the cohort {found.cohort}, but {named} gives {cohort}; name the data that the "
            "run was trained on, unchanged, or evaluation.elsewhere=carried if its subjects are others"
        )
