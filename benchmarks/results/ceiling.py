"""How much of the gap to the oracle could be closed with as many train rows: regressions that know more and more.

The simulator writes every file from eight readings a row. A logistic regression is given, of what a row has: principal
components of its vectors, as the baselines are; the readings as a ridge regression that was taught the truth shows them
from the same vectors; the true readings. Nobody but a simulator could train the last two.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor

from benchmarks.results import plan
from benchmarks.results.score import truth_of
from data_modules import patterns
from data_modules.datamodule import CohortDataModule
from data_modules.simulate.latent import MIMIC, READINGS
from mmnar_lightning import console
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import build

Array = NDArray[np.float64]
COMPONENTS = 8
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RIDGE = 10.0
FILE = "ceiling.csv"


def compare(out: Path, setting: str, seed: int) -> dict[str, float]:
    """Mean AUROC over the tasks, on the rows of a release that neither train nor choose: reader -> value."""
    datamodule = build.build_datamodule(load(plan.words("full", setting, seed, (), str(out))))
    datamodule.prepare_data()
    datamodule.setup()
    truth = datamodule.cohort.table.select("subject_id").join(
        truth_of(out, setting, seed), on="subject_id", how="left", maintain_order="left"
    )
    batch = datamodule.cohort.arrays.gather(torch.arange(datamodule.cohort.table.height))
    present = batch.present.numpy()
    inputs = {name: values.double().numpy() for name, values in batch.inputs.items() if isinstance(values, Tensor)}
    codes = patterns.encode(batch.present).numpy()
    columns = {
        "components of the vectors": _components(datamodule, inputs, present),
        "readings from the vectors by a regression on the truth": _predicted(datamodule, inputs, present, truth),
        "true readings": _readings(datamodule, present, lambda name: truth.select(_names(name)).to_numpy()),
    }
    pattern = (codes[:, None] == np.unique(codes)).astype(float)
    found = {
        "oracle": _auroc(datamodule, truth.select(f"oracle_all/{task}" for task in datamodule.cohort.tasks).to_numpy())
    }
    for reader, own in columns.items():
        inside = [own, pattern]
        if reader != "components of the vectors":  # few enough columns to have slopes of their own in each pattern
            inside += [own * present[:, [place]] for place in range(present.shape[1])]
        found[reader] = _auroc(datamodule, _fit(datamodule, np.concatenate(inside, axis=1)))
    return found


def _names(modality: str) -> list[str]:
    return [f"reading/{READINGS[place]}" for place in MIMIC.reads[modality]]


def _readings(datamodule: CohortDataModule, present: NDArray[np.bool_], read: Callable[[str], Array]) -> Array:
    """What `read` says of each modality, zero where it is absent, side by side."""
    names = [modality.name for modality in datamodule.cohort.modalities]
    return np.concatenate([np.where(present[:, [place]], read(name), 0.0) for place, name in enumerate(names)], axis=1)


def _components(datamodule: CohortDataModule, inputs: Mapping[str, Array], present: NDArray[np.bool_]) -> Array:
    axes = {name: axis.double().numpy() for name, axis in datamodule.cohort.axes(COMPONENTS).items()}
    return _readings(datamodule, present, lambda name: inputs[name] @ axes[name])


def _predicted(
    datamodule: CohortDataModule, inputs: Mapping[str, Array], present: NDArray[np.bool_], truth: pl.DataFrame
) -> Array:
    train = np.zeros(len(present), dtype=bool)
    train[datamodule.cohort.rows("train").numpy()] = True
    place = {modality.name: number for number, modality in enumerate(datamodule.cohort.modalities)}

    def read(name: str) -> Array:
        rows = train & present[:, place[name]]
        fitted = Ridge(alpha=RIDGE).fit(inputs[name][rows], truth.select(_names(name)).to_numpy()[rows])
        return np.asarray(fitted.predict(inputs[name])).reshape(len(present), -1)

    return _readings(datamodule, present, read)


def _fit(datamodule: CohortDataModule, features: Array) -> Array:
    """Logistic regressions on train, their penalties chosen on val, (N, T) probabilities."""
    label, known = datamodule.cohort.arrays.label.numpy(), datamodule.cohort.arrays.label_mask.numpy()
    probability = np.zeros(label.shape)
    for task in range(label.shape[1]):
        train, val = (
            rows[known[rows, task]] for rows in (datamodule.cohort.rows(split).numpy() for split in ("train", "val"))
        )
        tried = [
            LogisticRegression(C=penalty, max_iter=1000)
            .fit(features[train], label[train, task])
            .predict_proba(features)
            for penalty in PENALTIES
        ]
        best = min(tried, key=lambda found: log_loss(label[val, task], found[val, 1]))
        probability[:, task] = best[:, 1]
    return probability


def _auroc(datamodule: CohortDataModule, probability: Array) -> float:
    label, known = datamodule.cohort.arrays.label.numpy(), datamodule.cohort.arrays.label_mask.numpy()
    rows = torch.cat([datamodule.cohort.rows("calibration"), datamodule.cohort.rows("test")]).numpy()
    return float(
        np.mean(
            [
                roc_auc_score(label[rows, task][known[rows, task]], probability[rows, task][known[rows, task]])
                for task in range(label.shape[1])
            ]
        )
    )


def main() -> None:
    """Compare on the releases of one setting and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/results"))
    parser.add_argument("--setting", default="rho 1", choices=list(plan.SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(plan.SEEDS))
    given = parser.parse_args()
    console.quieten()
    rows = [{"release": seed, **compare(given.out.absolute(), given.setting, seed)} for seed in given.seeds]
    table = pl.DataFrame(rows)
    table.write_csv(given.out / FILE, float_precision=4)
    print(table)


if __name__ == "__main__":
    main()
