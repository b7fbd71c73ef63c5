"""The commands: build the parts, run them, write what they leave."""

import os
import time
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import torch
from lightning import Trainer

from data_modules import stage
from data_modules.cohorts.labels import check_classes
from data_modules.datamodule import CohortDataModule
from data_modules.items import open_store
from data_modules.simulate.release import simulate
from mmnar_lightning import build, folders, results
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.config import ConfigError, ExperimentConfig
from mmnar_lightning.console import progress, say, show, warn
from mmnar_lightning.metrics.functional import reliability_curve
from mmnar_lightning.metrics.intervals import METRICS
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.report import figures

SIMULATED = (
    "simulated data: no release was named, so patients are drawn from the causal model of docs/simulation.md; "
    "set MIMIC_ROOT or EICU_ROOT for real ones"
)


def make_release(config: ExperimentConfig) -> Path:
    """Write a simulated release into a folder of the user's."""
    if not config.out:
        raise ConfigError("simulate needs OUT=/path (or out=), the folder to write the release into")
    target = Path(config.out)
    with progress("simulating subjects", config.simulate.subjects) as advance:
        written = simulate(config.simulate, target, processes=os.cpu_count() or 1, advance=advance)
    say(f"{target} {'holds' if written else 'held'} {config.simulate.subjects} simulated subjects")
    return target


def make_cohort(config: ExperimentConfig) -> Path:
    """Build the cohort of an experiment and show what it holds."""
    _say_simulated(config)
    datamodule = build.build_datamodule(config)
    started = time.monotonic()
    folder = datamodule.build()
    manifest = stage.read_json(folder / stage.MANIFEST)
    _show_cohort(manifest, config.privacy.min_count)
    for line in manifest["dropped"]:
        warn(line)
    say(f"cohort: {folder} ({time.monotonic() - started:.1f} s)")
    return folder


def make_embeddings(config: ExperimentConfig) -> dict[str, Path]:
    """Encode the documents and films of an experiment's cohort, and show what came of each modality."""
    _say_simulated(config)
    datamodule = build.build_datamodule(config)
    started = time.monotonic()
    encoded = datamodule.vectors(datamodule.build())
    rows = []
    for name, folder in encoded.items():
        store = open_store(folder)
        present = store.present
        share = "all" if present is None else f"{present.mean():.1%}"
        rows.append([name, share, store.width, folder])
        for line in stage.read_json(folder / stage.MANIFEST)["left_out"]:
            warn(f"{name}: {line}")
    if rows:
        show("encoded", ["modality", "rows that have it", "floats", "folder"], rows)
    else:
        say("nothing to encode: no modality has an encoder (embed.text.encoder, embed.film.encoder)")
    say(f"embed: {time.monotonic() - started:.1f} s")
    return dict(encoded)


def train(config: ExperimentConfig) -> Path:
    """Cohort, model, fit, and the test split unless `evaluate=false`; returns the run's folder."""
    _say_simulated(config)
    datamodule = _open(config)
    resumed = folders.run_to_resume(config) if config.resume else None
    if resumed:
        _read_checkpoint(resumed / folders.LAST, datamodule)
    folder = resumed or folders.new_run(config)
    part = len(list((folder / "logs").glob("*")))
    module = build.build_module(config, datamodule)
    metrics = build.build_pattern_metrics(config, datamodule)
    trainer = build.build_trainer(config, datamodule, folder, metrics, part)
    say(f"run: {folder}{' (resumed)' if resumed else ''}")
    _fit(trainer, module, datamodule, folder / folders.LAST if resumed else None)
    if _evaluated(folder):
        _show_before(folder, config)
    elif config.evaluate:
        _evaluate(config, datamodule, folder, trainer, metrics)
    _finish(folder, trainer)
    folders.forget_run()
    _say_dropped(datamodule)
    _say_simulated(config)
    return folder


def _fit(trainer: Trainer, module: MMNARModule, datamodule: CohortDataModule, checkpoint: Path | None) -> None:
    with warnings.catch_warnings():
        if checkpoint is not None:
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt


def evaluate(config: ExperimentConfig) -> Path:
    """Read the test split with the best checkpoint of a run; done once, then only shown."""
    folder = Path(config.run) if config.run else folders.newest_run(config, folders.BEST)
    if not (folder / folders.BEST).is_file():
        raise ConfigError(f"run={config.run}: {folder} holds no {folders.BEST}")
    if _evaluated(folder):
        _show_before(folder, config)
        return folder
    config = folders.settings_of(folder, config)
    datamodule = _open(config)
    metrics = build.build_pattern_metrics(config, datamodule)
    part = len(list((folder / "logs").glob("*")))
    trainer = build.build_trainer(config, datamodule, folder, metrics, part)
    _evaluate(config, datamodule, folder, trainer, metrics)
    _finish(folder, trainer)
    return folder


def _evaluated(folder: Path) -> bool:
    return (folder / folders.RESULTS).is_file()


def _show_before(folder: Path, config: ExperimentConfig) -> None:
    say(f"{folder} was evaluated before; the test split is read once")
    _show_results(stage.read_json(folder / folders.RESULTS)["tasks"], config)


def _open(config: ExperimentConfig) -> CohortDataModule:
    """Build and open the cohort, and say what a person must know of it."""
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    if config.evaluate and not len(datamodule.rows("test")):
        raise ConfigError("the test split has no row; raise cohort.split.test, or train with evaluate=false")
    _show_cohort(datamodule.manifest, config.privacy.min_count)
    _say_dropped(datamodule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_classes(datamodule.manifest["prevalence"])
    for entry in caught:
        warn(f"{entry.category.__name__}: {entry.message}")
    return datamodule


def _say_simulated(config: ExperimentConfig) -> None:
    if config.simulated:
        warn(SIMULATED)


def _say_dropped(datamodule: CohortDataModule) -> None:
    for line in (*datamodule.manifest["dropped"], *datamodule.left_out):
        warn(line)


def _evaluate(
    config: ExperimentConfig, datamodule: CohortDataModule, folder: Path, trainer: Trainer, metrics: PatternMetrics
) -> None:
    module = build.build_module(config, datamodule)
    checkpoint = _read_checkpoint(folder / folders.BEST, datamodule)
    module.load_state_dict(checkpoint["state_dict"])
    trainer.test(module, datamodule=datamodule, verbose=False)
    if trainer.is_global_zero:
        _write_results(config, datamodule, folder, metrics, checkpoint)


def _read_checkpoint(path: Path, datamodule: CohortDataModule) -> dict[str, Any]:
    """Read a checkpoint, refusing one of another cohort: its splits, and so its test subjects, are others."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    trained = checkpoint["hyper_parameters"]["cohort_fingerprint"]
    if trained != datamodule.manifest["fingerprint"]:
        raise ConfigError(
            f"{path} was trained on the cohort {trained}, but {datamodule.folder} is another; name the release, or the "
            "cohort folder, that the run was trained on, as it was then"
        )
    return checkpoint


def _write_results(
    config: ExperimentConfig,
    datamodule: CohortDataModule,
    folder: Path,
    metrics: PatternMetrics,
    checkpoint: dict[str, Any],
) -> None:
    rows, tasks, num_modalities = metrics.rows, datamodule.tasks, len(datamodule.modalities)
    subject = datamodule.arrays.subject[rows["row_id"]]
    results.predictions(rows, datamodule.cohort, tasks, num_modalities).write_parquet(folder / "predictions.parquet")
    scored = results.score(
        rows,
        subject,
        tasks,
        datamodule.patterns,
        num_modalities,
        num_replicates=config.evaluation.num_replicates,
        seed=config.seed,
    )
    content = {
        "experiment": config.experiment,
        "run_id": folder.name,
        "seed": config.seed,
        "dataset": config.dataset,
        "simulated": datamodule.manifest["simulated"],
        "cohort": datamodule.manifest["fingerprint"],
        "versions": datamodule.manifest["versions"],
        "modalities": [modality.name for modality in datamodule.modalities],
        "dropped": [*datamodule.manifest["dropped"], *datamodule.left_out],
        "checkpoint": {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"]},
        "split": {"name": "test", "rows": len(subject), "subjects": len(torch.unique(subject))},
        "intervals": {"level": 0.95, "num_replicates": config.evaluation.num_replicates, "clusters": "subjects"},
        "tasks": scored,
    }
    _draw(config, rows, scored, tasks, folder / "figures")
    stage.write_json(folder / folders.RESULTS, content)
    _show_results(scored, config)


def _draw(
    config: ExperimentConfig, rows: dict[str, Any], scored: dict[str, Any], tasks: list[str], folder: Path
) -> None:
    masked = results.mask_cells(scored, config.privacy.min_count)
    title = "simulated data" if config.simulated else None
    for metric in METRICS:
        figures.save(figures.interval_plot(masked, metric, title), folder / f"{metric}.png")
    curves = {}
    for column, task in enumerate(tasks):
        known = rows["label_mask"][:, column]
        if int(known.sum()) >= config.privacy.min_count:
            num_bins = min(10, int(known.sum()) // max(1, config.privacy.min_count))
            probability, label = rows["probability"][known, column], rows["label"][known, column]
            curves[task] = reliability_curve(probability, label, num_bins=num_bins)
    if curves:
        figures.save(figures.reliability_plot(curves, title), folder / "reliability.png")


def _show_results(scored: dict[str, Any], config: ExperimentConfig) -> None:
    min_count = config.privacy.min_count
    header = ["pattern", "rows (positive)", *(name.replace("_", " ") for name in METRICS)]
    for task, cells in results.mask_cells(scored, min_count).items():
        rows = results.table_rows(cells)
        hidden = 1 + len(cells["patterns"]) - len(rows)
        data = ", simulated data" if config.simulated else ""
        show(f"{task}, test split{data}, 95 % intervals clustered by subject", header, rows)
        if hidden:
            say(f"patterns with fewer than {min_count} rows, masked here but not in results.json: {hidden}")


def _show_cohort(manifest: dict[str, Any], min_count: int) -> None:
    left = [
        [entry["rule"], *(_count(entry[key], min_count) for key in ("rows", "subjects"))]
        for entry in manifest["attrition"]
    ]
    show("attrition", ["rule", "rows", "subjects"], left)
    names = ", ".join(modality["name"] for modality in manifest["modalities"])
    shown = [
        [entry["label"], entry["present"], _count(entry["rows"], min_count)]
        for entry in manifest["patterns"][: figures.MAX_PATTERNS]
    ]
    show(f"patterns of {names}", ["pattern", "present", "rows"], shown)
    if "hospitals with" in manifest["counts"]:
        found = manifest["counts"]["hospitals with"].items()
        rows = [[name, _count(count, min_count)] for name, count in found]
        show(
            f"presence by hospital, of {manifest['counts']['hospitals']}", ["modality", "hospitals that have it"], rows
        )


def _count(count: int, min_count: int) -> str:
    return str(count) if count == 0 or count >= min_count else f"< {min_count}"


def _finish(folder: Path, trainer: Trainer) -> None:
    """Join the CSV files of all starts into metrics.csv, and mark the run as done."""
    if not trainer.is_global_zero:
        return
    parts = sorted((folder / "logs").glob("*/metrics.csv"), key=lambda path: int(path.parent.name))
    if parts:
        joined = pl.concat([pl.read_csv(path, infer_schema_length=None) for path in parts], how="diagonal_relaxed")
        joined.write_csv(folder / "metrics.csv")
    (folder / folders.DONE).touch()
    say(f"run: {folder}")
