"""Runs of networks: trains with Lightning, rectifies, and evaluates the best weights."""

import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer

from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.evaluation import diagnose, rectify
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import blend, build, folders, results, transfer
from mmnar_lightning.runs.resume import checkpoint_to_resume, identity, print_ranks, read_checkpoint
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer


@dataclass(frozen=True)
class _Trained:
    """The Trainer of a run, and its scoring callback."""

    trainer: Trainer
    metrics: PatternMetrics


def train(run: Run) -> bool:
    """Fit a network, from the last checkpoint if there is one, and evaluate it if `evaluate` is set.

    Returns:
        Whether this process is rank zero, which finishes the run.
    """
    resume_point = checkpoint_to_resume(run.folder, run.cohort.fingerprint)
    module = build.build_module(run.config, run.cohort)
    trained = _prepare(run, resume_point.run_id if resume_point else None)
    say(f"run: {run.folder}{f' (resumed {resume_point})' if resume_point else ''}")
    print_ranks(trained.trainer, run.config.loader.batch_size, resume_point)
    if not (run.folder / folders.DONE).is_file():
        _fit(run, trained.trainer, module, resume_point.path if resume_point else None)
    if results.is_done(run.folder):
        results.print_saved_results(run.folder, run.config.privacy.min_count)
    else:
        _rectify_and_evaluate(run, trained)
    return bool(trained.trainer.is_global_zero)


def evaluate(run: Run) -> bool:
    """Evaluate the best checkpoint of a run.

    Returns:
        Whether this process is rank zero, which finishes the run.
    """
    run_id = identity(read_checkpoint(run.folder / folders.BEST, run.cohort.fingerprint))["run_id"]
    trained = _prepare(run, run_id)
    _rectify_and_evaluate(run, trained)
    return bool(trained.trainer.is_global_zero)


def _prepare(run: Run, run_id: str | None = None) -> _Trained:
    metrics = build_pattern_metrics(run)
    part = len(list((run.folder / "logs").glob("*")))
    return _Trained(build_trainer(run, metrics, part, run_id), metrics)


def _fit(run: Run, trainer: Trainer, module: MMNARModule, checkpoint: Path | None) -> None:
    with warnings.catch_warnings(), signals.deferred():
        if checkpoint is not None:
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, datamodule=run.datamodule, ckpt_path=checkpoint, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        signals.raise_if_requested(f" after step {trainer.global_step}, the last one; it is saved")


def _rectify_and_evaluate(run: Run, trained: _Trained) -> None:
    """Fit the rectifier on the best weights if it is not fitted yet, then evaluate the test rows if `evaluate` is set.

    Several ranks stop together between these stages; a single process stops immediately.
    """
    with signals.deferred(trained.trainer.world_size > 1):
        checkpoint = read_checkpoint(run.folder / folders.BEST, run.cohort.fingerprint)
        module = build.build_module(run.config, run.cohort)
        load_weights(module, checkpoint["state_dict"], str(run.folder / folders.BEST))
        _warn_without_offset(run, module, checkpoint["epoch"])
        calibration = _fit_rectifier(run, trained.trainer, module, checkpoint)
        signals.raise_if_requested()
        if run.config.evaluate:
            fitted = {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"]}
            _test(run, trained, module, calibration, fitted)


def _warn_without_offset(run: Run, module: MMNARModule, epoch: int) -> None:
    if module.loss_offset is not None and not module.loss_offset.is_fitted:
        warn(
            f"the best epoch is {epoch}, before rectifier.start_epoch={run.config.rectifier.start_epoch}: "
            "its model has no loss offset"
        )


def _test(
    run: Run, trained: _Trained, module: MMNARModule, calibration: ScoredRows | None, fitted: dict[str, Any]
) -> None:
    """Predict, rectify, diagnose and score the test rows; every rank must call it, rank zero writes."""
    trainer = trained.trainer
    # Under FSDP the Trainer leaves the module sharded; the other readers of the rows need it whole.
    tested = deepcopy(module) if run.config.trainer.strategy == "fsdp" else module
    trainer.test(tested, datamodule=run.datamodule, verbose=False)
    signals.raise_if_requested()
    diagnostics = diagnose.diagnose(
        module.to(trainer.strategy.root_device),
        run.cohort,
        run.datamodule.test_dataloader(),
        trainer.precision_plugin.forward_context,
        scoring=run.scoring,
    )
    rows = trained.metrics.rows
    assert rows is not None, "the test split was scored"
    rectified = rectify.rectify(module, rows, calibration, run.cohort) if calibration is not None else None
    target = transfer.score(run, module, trainer)
    signals.raise_if_requested()
    if trainer.is_global_zero:
        blended = blend.fit_and_blend(run, rectified.rows if rectified else rows)
        found = results.compute_results(
            run, rows, fitted, rectified=rectified, blended=blended, diagnostics=diagnostics, target=target
        )
        results.save_results(run, found)


def _fit_rectifier(run: Run, trainer: Trainer, module: MMNARModule, checkpoint: dict[str, Any]) -> ScoredRows | None:
    """Fit the rectifier on half B unless the checkpoint has it already fitted.

    The checkpoint is rewritten atomically with the fitted rectifier before any test row is read.

    Returns:
        Half B with the predictions of the model; None without a rectifier.
    """
    if module.rectifier is None:
        return None
    device = trainer.strategy.root_device
    loader = run.datamodule.rows_dataloader(run.cohort.calibration_half("B"))
    rows = predict(module.to(device), loader, device, trainer.precision_plugin.forward_context)
    if module.rectifier.is_fitted:
        module.rectifier.recount(**rows.labelled)
    else:
        module.rectifier.fit(**rows.labelled, cohort=module.cohort)
        checkpoint["state_dict"] = {name: value.cpu() for name, value in module.state_dict().items()}
        if trainer.is_global_zero:
            AtomicCheckpointIO().save_checkpoint(checkpoint, run.folder / folders.BEST)
    return rows
