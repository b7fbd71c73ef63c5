"""What the settings of the worlds write into the files, and what the readers of both databases find."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from data_modules.cohorts.build import COHORT, build_cohort
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.simulate import frames, image, text
from data_modules.simulate.config import ADDED, SimulateConfig
from data_modules.simulate.eicu.stays import draw_stays
from data_modules.simulate.eicu.tables import LAB_NAMES
from data_modules.simulate.latent import MIMIC, draw, solve
from data_modules.simulate.mimic_iv import documents, timeline
from data_modules.simulate.release import _identity, read_truth, release_folder, simulate
from data_modules.simulate.shapes import LAB_SHAPES, VITAL_SHAPES
from mmnar_lightning.config.compose import load
from tests.unit.simulate.test_bytes import digests, members

SUBJECTS = 300
KNOBS: dict[str, Any] = {"phi": 2.5, "nuisance": 1.5, "label_share": 0.6}
ALL_KNOBS: dict[str, Any] = {**KNOBS, "nu": 0.8, "kappa": 0.7, "pi": 0.9, "shared": 0.4, "shift": 1.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of both databases with the settings that are seen in files."""
    target = tmp_path_factory.mktemp("world") / "release"
    simulate(SimulateConfig(subjects=SUBJECTS, images=False, **KNOBS), target)
    return target


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same release without nuisance."""
    target = tmp_path_factory.mktemp("quiet") / "release"
    simulate(SimulateConfig(subjects=SUBJECTS, images=False, **{**KNOBS, "nuisance": 0.0}), target)
    return target


def whole(folder: Path, name: str) -> pl.DataFrame:
    schema = MIMIC_IV if name in MIMIC_IV.tables else EICU
    return Release(schema, [folder]).scan(name, list(schema.tables[name].columns)).collect()


def content(folder: Path) -> str:
    """Digest of all that a release contains; numbers of the truth are rounded, as their last digit varies by CPU."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*.csv.gz")):
        found.update(file.name.encode() + b"".join(part for _, part in members(file)))
    for file in sorted(folder.rglob("*.parquet")):
        rounded = pl.read_parquet(file).with_columns((pl.col(pl.Float64) * 1e6).round().cast(pl.Int64))
        found.update(rounded.write_csv().encode())
    for file in sorted(folder.rglob("*.npy")):
        found.update(np.load(file).astype(np.float32).round(2).tobytes())
    return found.hexdigest()


LINEAR = "25cf09aebb986b3305eaf1772e4639014da39b31b36882f7f7d737662370949e"
"""Digest of the release below, made by the program before it had the settings."""


def test_at_the_defaults_a_release_is_that_of_the_program_without_the_settings(tmp_path: Path) -> None:
    simulate(SimulateConfig(subjects=30, images=False), tmp_path / "release")
    assert content(tmp_path / "release") == LINEAR


def test_at_the_defaults_the_name_of_a_release_is_that_without_the_settings(tmp_path: Path) -> None:
    assert _identity(SimulateConfig(rho=2.0)) == {
        "simulated": True,
        "simulator": 1,
        "config": {
            "databases": ["mimic_iv", "eicu"], "subjects": 3000, "seed": 7, "rho": 2.0, "gamma": 0.5, "tau": 0.5,
            "calendar": 0.3, "note_rate": 0.755, "image_rate": 0.25, "report_rate": 0.6, "images": True,
        },
    }  # fmt: skip
    assert release_folder(SimulateConfig(), tmp_path).name == "simulated-40f1d3766648"


@pytest.mark.parametrize("key", ADDED)
def test_a_setting_that_is_used_is_in_the_name(key: str, tmp_path: Path) -> None:
    knobs: list[dict[str, Any]] = [{key: value} for value in (0.25, 0.5, 1.0)]
    configs = [SimulateConfig(**one) for one in knobs]
    assert set(configs[0].identity()) & set(ADDED) == {key}
    folders = {release_folder(config, tmp_path) for config in configs}
    assert len(folders) == 3


def test_equal_settings_give_equal_bytes_in_every_world(tmp_path: Path) -> None:
    config = SimulateConfig(subjects=25, images=False, **ALL_KNOBS)
    for name in ("one", "other"):
        simulate(config, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def has_phrase(column: str = "text") -> pl.Expr:
    return pl.col(column).str.contains_any(list(text.PHRASES))


def said(notes: pl.DataFrame, column: str = "text") -> list[int]:
    return [int(notes[column].str.contains(phrase, literal=True).sum()) for phrase in text.PHRASES]


def test_the_phrase_is_in_the_note_of_the_index_and_in_its_counterfactual(world: Path) -> None:
    known = read_truth(world)
    assert 5 < known["phrase"].sum() < 0.1 * SUBJECTS
    assert known.filter(has_phrase("content/discharge_note"))["hadm_id"].equals(known.filter("phrase")["hadm_id"])
    notes = whole(world, "discharge_notes").join(known, on="hadm_id")
    assert notes.filter(has_phrase() != pl.col("phrase")).is_empty()
    assert min(said(notes)) > 1, "both wordings are used"
    assert notes.filter(pl.sum_horizontal(pl.col("text").str.count_matches(p) for p in text.PHRASES) > 1).is_empty()


def test_later_notes_have_phrases_of_their_own() -> None:
    config, generator = SimulateConfig(phi=8.0), np.random.default_rng(9)
    patients = draw(solve(config), 3000, generator)
    chart = documents.Chart.of(patients, timeline.draw(patients, config, generator), 0, 0.0)
    later = chart.admissions.number > 0
    notes = documents.discharge_notes(chart, generator).join(pl.DataFrame({"hadm_id": chart.hadm[later]}), on="hadm_id")
    stays = draw_stays(patients, config, 0, generator)
    second = stays.number == 1
    subjects = dict(zip(chart.subject.tolist(), chart.admissions.person.tolist(), strict=True))
    for has, owner in (
        (notes.select(has_phrase()).to_series().to_numpy(), [subjects[subject] for subject in notes["subject_id"]]),
        (stays.phrase[second], stays.person[second]),
    ):
        before = patients.phrase[owner]
        assert len(has) > 500
        assert abs(has.mean() - 0.04) < 3 * np.sqrt(0.04 / len(has))
        assert before.sum() > 15
        assert has[before].mean() < 0.25


def test_the_text_of_eicu_has_the_phrase_too(world: Path) -> None:
    known = read_truth(world, "eicu")
    assert known.filter(has_phrase("content/text") != pl.col("phrase")).is_empty()
    lines = whole(world, "note").group_by("patientunitstayid").agg(pl.col("notetext").str.join(" ").alias("text"))
    first = lines.join(known, on="patientunitstayid")
    assert first.height == known["present/text"].sum()
    assert first.filter(has_phrase() != pl.col("phrase")).is_empty()
    assert first["phrase"].sum() > 3


def neutral(texts: Iterable[str]) -> list[int]:
    return [sum(note.count(sentence) for sentence in text.NEUTRAL) for note in texts]


def without(column: str) -> pl.Expr:
    """The text without neutral sentences and blanks."""
    return pl.col(column).str.replace_many(list(text.NEUTRAL), [""]).str.replace_all(r"\s+", "")


def test_neutral_sentences_are_many_and_no_sentence_of_another_kind(world: Path) -> None:
    graded = {
        sentence for aspects in (text.FUNCTION, text.COURSE, text.FINDINGS) for one in aspects for sentence in one
    }
    assert len(set(text.NEUTRAL)) >= 24
    assert not set(text.NEUTRAL) & (graded | set(text.DISTRACTORS) | set(text.PHRASES))
    counts = {
        "a note": neutral(whole(world, "discharge_notes")["text"]),
        "a counterfactual note": neutral(read_truth(world)["content/discharge_note"]),
        "a counterfactual text": neutral(read_truth(world, "eicu")["content/text"]),
    }
    for name, found in counts.items():
        assert abs(np.mean(found) - 4.5) < 4 * np.sqrt(4.5 / len(found)), name
        assert 0.75 < np.var(found) / 4.5 < 1.3, name
    written = whole(world, "note")
    assert abs(neutral([" ".join(written["notetext"])])[0] / written["patientunitstayid"].n_unique() - 4.5) < 0.5
    severity = read_truth(world)["health/severity"]
    assert abs(spearmanr(counts["a counterfactual note"], severity).statistic) < 4 / np.sqrt(SUBJECTS)


def test_nuisance_changes_no_label_no_presence_and_no_reading(world: Path, quiet: Path) -> None:
    for name in ("mimic_iv", "eicu"):
        one, other = read_truth(world, name), read_truth(quiet, name)
        content = [column for column in one.columns if column.startswith("content/")]
        assert one.drop(content).equals(other.drop(content))
    before, after = digests(quiet), digests(world)
    assert before.keys() == after.keys()
    moved = {name for name in before if before[name] != after[name]}
    assert {Path(name).name.split(".")[0] for name in moved if name.endswith(".csv.gz")} == {
        "discharge", "labevents", "chartevents", "lab", "vitalPeriodic", "vitalAperiodic", "apacheApsVar", "note"
    }  # fmt: skip
    assert {name for name in before if name.endswith((".tfrecord", ".npy"))} <= moved


def test_apart_from_the_sentences_notes_are_what_they_were(world: Path, quiet: Path) -> None:
    one, other = (whole(folder, "discharge_notes").with_columns(without("text")) for folder in (world, quiet))
    assert one.equals(other)
    known = [read_truth(folder).with_columns(without("content/discharge_note")) for folder in (world, quiet)]
    assert known[0].equals(known[1])
    reports = [read_truth(folder)["content/radiology_report"] for folder in (world, quiet)]
    assert reports[0].equals(reports[1])


# Quantities far from the limits that values are cut at, and of one unit.
STEADY = ("sodium", "chloride", "hemoglobin", "hematocrit")
MIMIC_LABS = {concept.names[0]: concept.name for concept in LABS}
MIMIC_VITALS = {concept.names[0]: concept.name for concept in VITALS}


def moved(folders: tuple[Path, Path], table: str, owner: str, kind: pl.Expr, value: str) -> pl.DataFrame:
    """Owner, quantity, and by how many standard deviations nuisance moved its values: the first, and their range."""
    one, other = (whole(folder, table) for folder in folders)
    assert one.select(owner, kind).equals(other.select(owner, kind)), "the same quantities are measured"
    spread = {name: shape[1] for name, shape in (*LAB_SHAPES.items(), *VITAL_SHAPES.items())}
    by = (pl.col(value) - other[value]) / pl.col("name").replace_strict(spread, default=None, return_dtype=pl.Float64)
    named = one.with_columns(kind.alias("name")).with_columns(by=by).drop_nulls([owner, "by"])
    return named.group_by(owner, "name").agg(
        pl.col("by").median(), pl.len(), range=pl.col("by").max() - pl.col("by").min()
    )


@pytest.mark.parametrize("name", ["mimic_iv", "eicu"])
def test_one_draw_of_three_numbers_moves_all_labs_and_vitals_of_an_admission(
    name: str, world: Path, quiet: Path
) -> None:
    folders = world, quiet
    if name == "mimic_iv":
        owner = "hadm_id"
        labs = moved(folders, "labevents", owner, pl.col("itemid").replace_strict(MIMIC_LABS), "valuenum")
        kind = pl.col("itemid").replace_strict(MIMIC_VITALS, default=None)
        vitals = moved(folders, "chartevents", owner, kind, "valuenum")
    else:
        owner = "patientunitstayid"
        names = {there: lab for lab, (there, _) in LAB_NAMES.items()}
        labs = moved(folders, "lab", owner, pl.col("labname").replace_strict(names), "labresult")
        vitals = moved(folders, "vitalPeriodic", owner, pl.lit("heart_rate"), "heartrate")
    steady = labs.filter(pl.col("name").is_in(STEADY))
    again = steady.filter(pl.col("len") > 1)
    assert again.height > 2 * SUBJECTS
    assert (again["range"] < 0.02).mean() > 0.97, "all panels move alike"
    wide = steady.pivot("name", index=owner, values="by").drop_nulls()
    loading = np.array([LAB_SHAPES[lab][3] for lab in STEADY])
    drawn, misfit, *_ = np.linalg.lstsq(loading, wide.select(STEADY).to_numpy().T, rcond=None)
    assert np.median(misfit) < 0.001, "three numbers explain four labs"
    assert np.abs(drawn.std(1) / (0.5 * KNOBS["nuisance"]) - 1).max() < 0.2
    expected = wide.select(owner, expected=pl.Series(VITAL_SHAPES["heart_rate"][3] @ drawn))
    found = vitals.filter(pl.col("name") == "heart_rate").join(expected, on=owner)
    assert found.height > 50
    assert ((found["by"] - found["expected"]).abs() < 0.08).mean() > 0.95, "vitals move with the labs"


def test_a_measured_value_is_the_quantity_plus_its_disturbance() -> None:
    for shapes in (LAB_SHAPES, VITAL_SHAPES):
        generators = [np.random.default_rng(3) for _ in range(2)]
        quantity, readings = np.tile(np.arange(len(shapes)), 40), np.zeros((40 * len(shapes), 8))
        moved = frames.disturbances(40, 2.0, np.random.default_rng(4))
        assert abs(moved.std() - 1) < 0.2
        values = [
            frames.measure(shapes, quantity, readings, np.repeat(size * moved, len(shapes), axis=0), generator)
            for size, generator in zip((0, 1), generators, strict=True)
        ]
        by = (values[1] - values[0]).reshape(40, -1) / [shape[1] for shape in shapes.values()]
        assert np.allclose(by, moved @ np.array([shape[3] for shape in shapes.values()]).T)
    loadings = np.array([shape[3] for shape in (*LAB_SHAPES.values(), *VITAL_SHAPES.values())])
    assert loadings.shape == (22, 3)
    assert len(np.unique(loadings)) == 66
    assert not frames.disturbances(5, 0.0, np.random.default_rng(4)).any()


def test_embeddings_get_eight_fresh_directions() -> None:
    readings = np.random.default_rng(5).standard_normal((300, 2))
    generators = [np.random.default_rng(6) for _ in range(2)]
    loud, silent = (image.embeddings(readings, own, size) for own, size in zip(generators, (3.0, 0.0), strict=True))
    assert generators[0].random() == generators[1].random(), "what is drawn next is the same"
    by = loud.astype(float) - silent
    left, sizes, _ = np.linalg.svd(by, full_matrices=False)
    assert sizes[7] > 100 * sizes[8]
    assert abs(by.std() - 3.0 * 0.5 * np.sqrt(8)) < 0.2
    assert np.abs(np.corrcoef(left[:, :8].T, readings.T)[:8, 8:]).max() < 4 / np.sqrt(300)
    generator = np.random.default_rng(6)
    twice = [image.embeddings(readings, generator, 3.0) for _ in range(2)]
    assert np.abs(twice[0] - twice[1]).std() > 2


def test_in_mimic_the_subjects_without_labels_die_in_the_index_admission(world: Path, tmp_path: Path) -> None:
    config = load(["experiment=mimic"]).cohort
    assert isinstance(config, ReleaseCohortConfig)
    cohort = pl.read_parquet(build_cohort(database("mimic"), Release(MIMIC_IV, [world]), config, tmp_path) / COHORT)
    known = read_truth(world)
    seed = np.random.SeedSequence([7, 0, 0]).spawn(9)[0]
    drawn = draw(solve(SimulateConfig(**KNOBS), MIMIC), SUBJECTS, np.random.default_rng(seed))
    assert known["labelled"].to_list() == drawn.labelled.tolist()
    assert 0.5 < known["labelled"].mean() < 0.7
    reached = known.filter(pl.Series(drawn.labelled & ~drawn.excluded))
    assert sorted(cohort["admission_id"]) == sorted(reached["hadm_id"])
    rows = cohort.join(known, left_on="admission_id", right_on="hadm_id")
    for task in MIMIC.tasks:
        assert rows[f"label/{task}"].equals(rows[f"outcome/{task}"].alias(f"label/{task}")), task
    admissions = whole(world, "admissions").join(known, on="hadm_id")
    assert admissions.filter((pl.col("hospital_expire_flag") == 1) != pl.col("excluded")).is_empty()
    silent = known.filter(~pl.col("labelled"))
    assert silent["excluded"].all()
    assert silent.join(whole(world, "labevents"), on="hadm_id", how="semi").height == silent.height
    assert silent.join(whole(world, "discharge_notes"), on="hadm_id", how="semi").height > silent.height / 2


def eicu_rows(folder: Path, **knobs: Any) -> pl.DataFrame:
    rows = build_rows(Release(EICU, [folder]), EICUCohortConfig(**knobs)).rows
    return rows.join(read_truth(folder, "eicu"), left_on="stay_id", right_on="patientunitstayid")


@pytest.mark.parametrize("rule", ["negative", "exclude", "composite"])
@pytest.mark.parametrize("readmission", ["gap", "muse"])
def test_in_eicu_the_subjects_without_labels_are_rows_of_unknown_labels(world: Path, readmission, rule: str) -> None:
    for landmark in ("unit_24h", "unit_discharge"):
        knobs = {"readmission": readmission, "death_in_window": rule} if landmark == "unit_discharge" else {}
        rows = eicu_rows(world, landmark=landmark, **knobs)
        assert 0.3 < (~rows["labelled"]).mean() < 0.5
        labels = [column for column in rows.columns if column.startswith("label/")]
        assert len(labels) == 2
        for label in labels:
            assert rows.filter(~pl.col("labelled"))[label].null_count() == (~rows["labelled"]).sum(), label
            if rule == "negative":
                assert rows.filter("labelled")[label].null_count() == 0, label
        known = rows.filter("labelled")
        assert known["label/in_hospital_mortality"].to_list() == known["outcome/in_hospital_mortality"].to_list()


def test_in_eicu_the_built_cohort_has_the_unlabelled_rows(world: Path, tmp_path: Path) -> None:
    config = load(["experiment=eicu", "cohort.index=first", "paths.eicu_root=given"]).cohort
    assert isinstance(config, ReleaseCohortConfig)
    folder = build_cohort(database("eicu"), Release(EICU, [world]), config, tmp_path)
    cohort = pl.read_parquet(folder / COHORT)
    known = read_truth(world, "eicu").filter(~pl.col("excluded"))
    rows = cohort.join(known, left_on="stay_id", right_on="patientunitstayid", suffix="/drawn")
    assert rows.height == cohort.height > 0.9 * known.height
    for task in ("in_hospital_mortality", "unit_mortality"):
        assert rows[f"label/{task}"].is_null().equals(~rows["labelled"].alias(f"label/{task}")), task
    for name in ("diagnoses", "text", "treatments"):
        assert rows[f"present/{name}"].equals(rows[f"present/{name}/drawn"].alias(f"present/{name}")), name
    counts = json.loads((folder / "manifest.json").read_text())
    assert counts["simulated"] is True
