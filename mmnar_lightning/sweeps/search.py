"""Search without W&B, by Optuna: grid, random, and bayes as TPE; a journal on disk survives interruption."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmnar_lightning.sweeps.space import Parameter, Sweep, SweepError, Value

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
STUDY = "sweep"
MIN_TRIALS = 4
"""Minimum number of finished trials for the importance of parameters."""


class Search:
    """Trials of a sweep, in a journal on disk.

    Args:
        sweep: the search space and method.
        folder: of the sweep.
        num_trials: maximum number of trials.
        max_epochs: of a trial; bounds Hyperband if the file does not.
    """

    def __init__(self, sweep: Sweep, folder: Path, num_trials: int, max_epochs: int) -> None:
        _require_optuna()
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self.sweep, self.num_trials = sweep, num_trials
        storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        started = storage.get_all_studies()
        self.study: optuna.Study = optuna.create_study(
            storage=storage,
            study_name=STUDY,
            load_if_exists=True,
            direction="maximize" if sweep.maximise else "minimize",
            sampler=_sampler(sweep, len(storage.get_all_trials(started[0]._study_id)) if started else 0),
            pruner=_pruner(sweep, max_epochs),
        )
        if sweep.method == "grid" and not started:
            for values in sweep.grid()[:num_trials]:
                self.study.enqueue_trial(dict(values))

    def unfinished(self) -> "list[optuna.Trial]":
        """Trials that an interrupted search had started."""
        import optuna

        running = self.study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        return [optuna.Trial(self.study, frozen._trial_id) for frozen in running]

    def ask(self) -> "optuna.Trial | None":
        """A new trial; None if all have been started."""
        import optuna

        started = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
        if len(started) >= self.num_trials:
            return None
        trial: optuna.Trial = self.study.ask()
        return trial

    def values(self, trial: "optuna.Trial") -> dict[str, Value]:
        """The settings of a trial, drawn once and stored."""
        return {parameter.key: _suggest(trial, parameter) for parameter in self.sweep.parameters}

    def report(self, trial: "optuna.Trial", epoch: int, value: float) -> bool:
        """Report the metric of an epoch.

        Args:
            trial: the trial.
            epoch: number of epochs trained, from 1.
            value: of the metric.

        Returns:
            Whether the trial should be stopped early.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="The reported value is ignored"
            )  # reported before an interruption
            trial.report(value, epoch)
        return self.sweep.hyperband is not None and trial.should_prune()

    def record(self, trial: "optuna.Trial", state: str, value: float | None = None) -> None:
        """Close a trial: `finished` with its metric, `pruned` or `failed`."""
        import optuna

        states = optuna.trial.TrialState
        known = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        self.study.tell(trial, values=value, state=known[state])

    def states(self) -> dict[int, str]:
        """Number of a trial -> its final state, as named in the table."""
        names = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
        trials = self.study.get_trials(deepcopy=False)
        return {trial.number: names[trial.state.name] for trial in trials if trial.state.name in names}

    def importance(self) -> dict[str, float]:
        """Share of the metric's variance that each parameter explains; empty with too few trials."""
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        done = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        differ = [
            parameter.key
            for parameter in self.sweep.parameters
            if len({trial.params.get(parameter.key) for trial in done}) > 1
        ]
        if len(done) < MIN_TRIALS or not differ or len({trial.value for trial in done}) < 2:
            return {}
        found: dict[str, float] = get_param_importances(
            self.study, evaluator=FanovaImportanceEvaluator(seed=0), params=differ
        )
        return found


def num_trials_of(sweep: Sweep, asked: int) -> int:
    """Number of trials of a sweep.

    Args:
        sweep: its file.
        asked: `sweep.trials`; 0 = as the file says.

    Returns:
        At least 1.

    Raises:
        SweepError: if the search has no limit.
    """
    if sweep.method == "grid":
        size = len(sweep.grid())
        return min(size, asked or sweep.run_cap or size)
    if not asked and sweep.run_cap is None:
        raise SweepError(f"a {sweep.method} sweep has no end of its own: set run_cap in the file or sweep.trials=20")
    return asked or sweep.run_cap or 0


def _require_optuna() -> None:
    try:
        import optuna
    except ImportError:
        raise SweepError("offline search needs Optuna: pip install 'mmnar-lightning[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _sampler(sweep: Sweep, num_drawn: int) -> Any:
    """The sampler; its seed is the number of trials, so that a resumed search does not repeat the first ones."""
    from optuna.samplers import RandomSampler, TPESampler

    if sweep.method == "bayes":
        return TPESampler(seed=num_drawn)
    return RandomSampler(seed=num_drawn)


def _pruner(sweep: Sweep, max_epochs: int) -> Any:
    from optuna.pruners import HyperbandPruner, NopPruner

    if sweep.hyperband is None:
        return NopPruner()
    most = sweep.hyperband.max_iter or max_epochs
    least = sweep.hyperband.min_iter
    if least > most:
        raise SweepError(f"early_terminate.min_iter={least} is larger than the {most} epochs of a trial")
    return HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=sweep.hyperband.eta)


def _suggest(trial: "optuna.Trial", parameter: Parameter) -> Value:
    if parameter.values:
        chosen = trial.suggest_categorical(parameter.key, parameter.values)
        assert chosen is not None
        return chosen
    if parameter.distribution == "int_uniform":
        return trial.suggest_int(parameter.key, int(parameter.low), int(parameter.high))
    log = parameter.distribution == "log_uniform_values"
    return trial.suggest_float(parameter.key, parameter.low, parameter.high, log=log, step=parameter.step)
