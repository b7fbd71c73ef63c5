"""APACHE IVa's own predictions: kept beside the cohort, never an input, and scored as a baseline."""

import csv
import gzip
import json
import os

import polars as pl
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.apache import predicted_mortality
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders, protocols, single
from tests.helpers.eicu import stay, write_release

QUICK = ["trainer.progress_bar=false", "wandb.enabled=false", "evaluation.num_replicates=100"]
BASELINE = ["experiment=eicu,baselines/published_score", "cohort.tasks=[in_hospital_mortality]", *QUICK]


def result(key, stay_id, version, hospital, unit="0.01"):
    return {
        "apachepatientresultsid": key, "patientunitstayid": stay_id, "apacheversion": version,
        "predictedhospitalmortality": hospital, "predictedicumortality": unit,
    }  # fmt: skip


def scores_of(folder, results, stays=None, **settings):
    release = write_release(folder, stays or [stay(number) for number in range(1, 8)], apachePatientResult=results)
    rows = build_rows(release, EICUCohortConfig(**{"index": "every", **settings})).rows
    return predicted_mortality(release, rows).drop("row_id").rows()


def test_only_version_iva_counts_and_minus_one_or_no_probability_is_none(tmp_path):
    results = [
        result(1, 1, "IV", "0.9"), result(2, 1, "IVa", "0.25", "0.125"), result(3, 2, "IVa", "-1", "-1"),
        result(4, 3, "IV", "0.5"), result(5, 4, "IVa", "1.5", ""), result(7, 5, "IVa", "0.75"),
        result(6, 5, "IVa", "0.5"), result(8, 6, "IVa", "unknown", "0"),
    ]  # fmt: skip
    nothing = (None, None)
    expected = [(0.25, 0.125), nothing, nothing, nothing, (0.5, 0.01), (None, 0.0), nothing]
    assert scores_of(tmp_path, results) == expected


def test_none_is_known_before_a_day_is_over(tmp_path):
    stays = [stay(1, lasts=1439), stay(2, lasts=1440)]
    results = [result(1, 1, "IVa", "0.5"), result(2, 2, "IVa", "0.5")]
    assert scores_of(tmp_path, results, stays, landmark="unit_discharge") == [(None, None), (0.5, 0.01)]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.suffix in {".npy", ".parquet"}
    }


@pytest.mark.demo
def test_what_apache_predicts_changes_no_bit_of_an_input(demo, tmp_path):
    config = EICUCohortConfig(index="every", modalities=["demographics", "apache", "history", "diagnoses", "text"])
    whole = contents(build_cohort(database("eicu"), demo, config, tmp_path / "whole"))
    blind = Release.parse(EICU, os.pathsep.join(str(root) for root in demo.roots))
    blind.files.pop("apachePatientResult")
    left = contents(build_cohort(database("eicu"), blind, config, tmp_path / "blind"))
    names = {str(name) for name in whole} - {str(name) for name in left}
    assert names == {"scores.parquet"}
    for name, content in left.items():
        if name.name != "documents.parquet":
            assert whole[name] == content, name


@pytest.fixture(scope="module")
def by_hand(eicu_demo):
    """stay -> APACHE IVa's probability of death in hospital, and what became of it, where both are known."""

    def rows(table):
        with gzip.open(eicu_demo / f"{table}.csv.gz", "rt", encoding="utf-8", newline="") as handle:
            yield from csv.DictReader(handle)

    died = {
        row["patientunitstayid"]: row["hospitaldischargestatus"] == "Expired"
        for row in rows("patient")
        if row["hospitaldischargestatus"]
    }
    return {
        int(row["patientunitstayid"]): (float(row["predictedhospitalmortality"]), died[row["patientunitstayid"]])
        for row in rows("apachePatientResult")
        if row["apacheversion"] == "IVa"
        and row["predictedhospitalmortality"] != "-1"
        and row["patientunitstayid"] in died
    }


def auroc(pairs):
    dead = [risk for risk, died in pairs if died]
    alive = [risk for risk, died in pairs if not died]
    return sum((one > other) + 0.5 * (one == other) for one in dead for other in alive) / len(dead) / len(alive)


@pytest.mark.demo
def test_under_k_folds_every_row_is_scored_once_by_what_the_file_says(workplace, eicu_demo, by_hand, monkeypatch):
    monkeypatch.setenv("EICU_ROOT", str(eicu_demo))
    monkeypatch.delenv(folders.RUN_ID_VARIABLE, raising=False)
    few = "cohort.modalities=[demographics,apache]"
    parent = protocols.train(load([*BASELINE, "evaluation.protocol=kfold", few, "embed.text.encoder=none"]))
    content = json.loads((parent / "results.json").read_text())
    cell = content["tasks"]["in_hospital_mortality"]["all"]
    assert (cell["count"], cell["positives"]) == (1211, 104)
    predicted = pl.read_parquet(parent / "predictions.parquet")
    cohort = pl.read_parquet(next(workplace.glob("data/cohorts/*/cohort.parquet"))).select(
        "stay_id", row_id=pl.col("row_id").cast(pl.Int64)
    )
    known = predicted.join(cohort, on="row_id").drop_nulls("label/in_hospital_mortality")
    assert known["stay_id"].is_unique().all()
    columns = ["probability/in_hospital_mortality", "label/in_hospital_mortality"]
    reported = known.select("stay_id", *columns).rows()
    expected = [by_hand[stay_id] for stay_id, *_ in reported]
    assert [died for *_, died in reported] == [died for _, died in expected]
    # Logits are stored, so a probability may differ from the file's in its last bit.
    assert [risk for _, risk, _ in reported] == pytest.approx([risk for risk, _ in expected], rel=1e-12)
    assert 0.82 < auroc([row[1:] for row in reported]) < 0.85
    by_fold = [auroc(part.select(columns).rows()) for _, part in known.group_by("fold")]
    assert cell["auroc"]["value"] == pytest.approx(sum(by_fold) / len(by_fold))
    groups = content["groups"]["tasks"]["in_hospital_mortality"]
    assert content["groups"]["by"] == "hospital"
    assert (len(groups["groups"]), groups["pooled"]["groups"]) == (26, 173 - 26)
    assert sum(one["count"] for one in groups["groups"].values()) + groups["pooled"]["count"] == 1211
    assert min(one["count"] for one in groups["groups"].values()) >= 10


def test_a_run_counts_what_it_cannot_score_and_refuses_what_is_not_predicted(workplace, capsys):
    words = ["simulate.subjects=400", "simulate.databases=[eicu]"]
    folder = single.train(load([*BASELINE, *words]))
    content = json.loads((folder / "results.json").read_text())
    without = content["checkpoint"]["rows_without_prediction"]
    assert without > 0
    assert f"{without} test rows have no prediction and are not scored" in " ".join(capsys.readouterr().out.split())
    predicted = pl.read_parquet(folder / "predictions.parquet")
    assert predicted.height == content["split"]["rows"]
    (file,) = workplace.glob("data/cohorts/*/cohort.parquet")
    assert predicted.height + without == pl.read_parquet(file).filter(split="test").height
    with pytest.raises(
        ValueError, match=r"apache_iva predicts no row of unit_mortality; leave these out of cohort\.tasks"
    ):
        single.train(load([BASELINE[0], *QUICK, *words]))
    with pytest.raises(ValueError, match=r"published_score\.name=sofa: this cohort has apache_iva"):
        single.train(load([*BASELINE, *words, "baseline.published_score.name=sofa"]))
