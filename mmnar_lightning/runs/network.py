"""Runs of networks: trains with Lightning, rectifies, and evaluates the best weights."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from lightning import Trainer

from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO
from mmnar_lightning.console import warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.evaluation import diagnose, rectify
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.model import strength_of
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import blend, build, fit, folders, model_folder, parts, results, strength, transfer
from mmnar_lightning.runs.fit import Trained
from mmnar_lightning.runs.resume import identity, read_best
from mmnar_lightning.runs.run import Run
from mmnar_lightning.saved.parts import of_module


def train(run: Run) -> bool:
    """Fit a network, from the last checkpoint if there is one, and evaluate it if `evaluate` is set.

    Returns:
        Whether this process is rank zero, which finishes the run.
    """
    parts.announce(run.config)
    trained = fit.train(run)
    if results.is_done(run.folder):
        results.print_saved_results(run.folder, run.config)
    else:
        _finish(run, trained)
    return bool(trained.trainer.is_global_zero)


def evaluate(run: Run) -> bool:
    """Evaluate the best checkpoint of a run.

    Returns:
        Whether this process is rank zero, which finishes the run.
    """
    run_id = identity(read_best(run.folder, run.cohort.fingerprint))["run_id"]
    parts.announce(run.config)
    trained = fit.prepare(run, run_id)
    strength.choose(run, trained.trainer, trained.metrics)  # of a run that was stopped before it
    _finish(run, trained)
    return bool(trained.trainer.is_global_zero)


def save_model(run: Run) -> None:
    """Write the model folder of an evaluated run again, from its best checkpoint."""
    module = build.build_module(run.config, run.cohort, initialised=False)
    weights = read_best(run.folder, run.cohort.fingerprint)["state_dict"]
    load_weights(module, weights, str(run.folder / folders.BEST))
    model_folder.save(run, of_module(module))


def _finish(run: Run, trained: Trained) -> None:
    """Train what the diagnostics need, then rectify and evaluate; every rank must call it."""
    gains = parts.gains(run, trained.trainer)
    _rectify_and_evaluate(run, trained, {"parts": gains} if gains is not None else {})


def _rectify_and_evaluate(run: Run, trained: Trained, diagnostics: Mapping[str, Any]) -> None:
    """Fit the rectifier on the best weights if it is not fitted yet, then evaluate the test rows if `evaluate` is set.

    Several ranks stop together between these stages; a single process stops immediately.
    """
    with signals.deferred(trained.trainer.world_size > 1):
        checkpoint = read_best(run.folder, run.cohort.fingerprint)
        module = build.build_module(run.config, run.cohort, initialised=False)
        load_weights(module, checkpoint["state_dict"], str(run.folder / folders.BEST))
        _warn_without_offset(run, module, checkpoint["epoch"])
        calibration = _fit_rectifier(run, trained.trainer, module, checkpoint)
        if trained.trainer.is_global_zero:
            model_folder.save(run, of_module(module))
        signals.raise_if_requested()
        if run.config.evaluate:
            _test(run, trained, module, calibration, _fitted(module, checkpoint), diagnostics)


def _fitted(module: MMNARModule, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The origin of the predictions, for results.json."""
    found = {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"]}
    counts = strength_of(module.model)
    return found if counts is None else {**found, "strength": counts}


def _warn_without_offset(run: Run, module: MMNARModule, epoch: int) -> None:
    if module.loss_offset is not None and not module.loss_offset.is_fitted:
        warn(
            f"the best epoch is {epoch}, before rectifier.start_epoch={run.config.rectifier.start_epoch}: "
            "its model has no loss offset"
        )


def _test(
    run: Run,
    trained: Trained,
    module: MMNARModule,
    calibration: ScoredRows | None,
    fitted: Mapping[str, Any],
    diagnostics: Mapping[str, Any],
) -> None:
    """Predict, rectify, diagnose and score the test rows; every rank must call it, rank zero writes."""
    trainer = trained.trainer
    # Under FSDP the Trainer leaves the module sharded; the other readers of the rows need it whole.
    tested = deepcopy(module) if run.config.trainer.strategy == "fsdp" else module
    trainer.test(tested, datamodule=run.datamodule, verbose=False)
    signals.raise_if_requested()
    of_module = diagnose.diagnose(
        module.to(trainer.strategy.root_device),
        run.cohort,
        run.datamodule.test_dataloader(),
        trainer.precision_plugin.forward_context,
        scoring=run.scoring,
    )
    rows = trained.metrics.rows
    assert rows is not None, "the test split was scored"
    rectified = None
    if calibration is not None and module.rectifier is not None:
        rectified = rectify.rectify(module.rectifier, module.cohort, rows, calibration, run.cohort)
    target = transfer.score(run, module, trainer)
    signals.raise_if_requested()
    if trainer.is_global_zero:
        blended = blend.fit_and_blend(run, rectified.rows if rectified else rows)
        found = results.compute_results(
            run,
            rows,
            fitted,
            rectified=rectified,
            blended=blended,
            diagnostics={**of_module, **diagnostics},
            target=target,
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
