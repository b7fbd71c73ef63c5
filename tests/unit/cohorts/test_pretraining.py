"""Rows for pre-training: what train subjects have beside the cohort, and nothing of anyone else."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from data_modules import stage
from data_modules.cohorts import pretraining, splits
from data_modules.cohorts.build import COHORT, build_cohort
from data_modules.cohorts.config import ReleaseCohortConfig, SplitConfig
from data_modules.cohorts.pretraining import COUNTS, PRETRAINING
from data_modules.cohorts.rows import CohortRows
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import EMBEDDINGS
from data_modules.databases.registry import cohort_config, database
from data_modules.errors import UserError
from data_modules.loading.alignment import Source, align
from data_modules.loading.opened import OpenedCohort
from data_modules.loading.opening import Reading, open_cohort
from data_modules.raw.locate import find_folder
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.report.cohort import show_cohort
from tests.helpers import eicu, mimic_iv
from tests.helpers.mimic_iv import admission, death, moment, patient, stay

DOCUMENTS = ["discharge_note", "radiology_report"]
MIMIC = ["structured", *DOCUMENTS, "cxr"]
EICU = ["demographics", "labs", "vitals", "treatments", "text"]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "discharge": ("mimic", {"modalities": MIMIC, "note_grace_hours": 72}),
    "icu_24h": ("mimic", {"modalities": ["structured", "radiology_report"], "landmark": "icu_24h"}),
    "unit_24h": ("eicu", {"modalities": EICU}),
    "unit_discharge": ("eicu", {"modalities": EICU, "landmark": "unit_discharge"}),
}
ALL_TRAIN = SplitConfig(train=1, calibration=0, val=0, test=0)
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pretraining")
    simulate(SimulateConfig(subjects=300, images=False), place / "release")
    return place


@pytest.fixture(scope="module")
def build(place: Path) -> Build:
    """Builds a cohort of the simulated release."""

    def built(name: str, **settings: Any) -> Path:
        spec = database(name)
        config = cohort_config(name)(**settings)
        assert isinstance(config, ReleaseCohortConfig)
        return build_cohort(spec, Release(spec.schema, [place / "release"]), config, place / "data")

    return built


def extra_rows(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / PRETRAINING)


@pytest.mark.parametrize("case", CASES)
def test_the_rows_of_the_cohort_are_the_same_cell_by_cell(build: Build, case: str) -> None:
    name, settings = CASES[case]
    without, with_them = build(name, **settings), build(name, pretraining_rows=True, **settings)
    assert (with_them / COHORT).read_bytes() == (without / COHORT).read_bytes()
    num_rows = pl.read_parquet(without / COHORT).height
    extra = extra_rows(with_them)
    assert extra["row_id"].to_list() == list(range(num_rows, num_rows + extra.height))
    files = [path for path in sorted(without.rglob("*")) if path.is_file() and path.name != stage.MANIFEST]
    assert {path.suffix for path in files} >= {".npy", ".json", ".parquet", ".csv"}
    for path in files:
        other = with_them / path.relative_to(without)
        if path.suffix == ".npy":
            values = np.load(other)
            assert len(values) == num_rows + extra.height
            assert values[:num_rows].tobytes() == np.load(path).tobytes(), path
        elif path.suffix == ".parquet":
            assert pl.read_parquet(other).filter(pl.col("row_id") < num_rows).equals(pl.read_parquet(path)), path
        else:
            assert other.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("case", CASES)
def test_an_extra_row_has_the_values_that_it_has_as_a_row_of_the_cohort(build: Build, case: str) -> None:
    name, settings = CASES[case]
    settings = {**settings, "min_age": 0, "split": ALL_TRAIN, "modalities": settings["modalities"][:1]}
    first, every = build(name, pretraining_rows=True, **settings), build(name, index="every", **settings)
    key = "admission_id" if name == "mimic" else "stay_id"
    cohort = pl.read_parquet(every / COHORT)
    pairs = extra_rows(first).join(cohort, on=key, suffix="_every")
    assert pairs.height > 5
    for column in ("subject_id", "fold", *(entry for entry in cohort.columns if entry.startswith(("present", "pred")))):
        assert pairs[column].equals(pairs[f"{column}_every"], check_names=False), column
    (modality,) = settings["modalities"]
    columns = [stage.read_json(folder / "modalities" / modality / "columns.json") for folder in (first, every)]
    shared = [entry for entry in columns[0] if entry in columns[1] and not entry.endswith("/distinct")]
    values = [
        np.load(folder / "modalities" / modality / "values.npy")[pairs[row].to_numpy()][:, list(map(own.index, shared))]
        for folder, row, own in zip((first, every), ("row_id", "row_id_every"), columns, strict=True)
    ]
    assert len(shared) > 10
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("name", ["mimic", "eicu"])
def test_without_the_setting_nothing_of_it_is_in_a_cohort_or_its_fingerprint(build: Build, name: str) -> None:
    folder = build(name, modalities=["demographics"])
    manifest = stage.read_json(folder / stage.MANIFEST)
    expected = asdict(cohort_config(name)(modalities=["demographics"]))
    assert manifest["config"] == {key: expected[key] for key in expected if key not in {"verify", "pretraining_rows"}}
    assert "pre" + "training" not in (folder / stage.MANIFEST).read_text()
    assert COUNTS not in manifest["counts"]
    assert not (folder / PRETRAINING).exists()
    assert build(name, modalities=["demographics"], pretraining_rows=True).name != folder.name


HELD: dict[str, dict[str, Any]] = {
    "usual": {},
    "test_fold": {"split": SplitConfig(test_fold=1)},
    "crossfit_fold": {"split": SplitConfig(crossfit_fold=3)},
}
BY_HOSPITAL = {f"hospitals_{name}": {**settings, "fold_by": "hospital"} for name, settings in HELD.items()}
LEAKS = [("mimic", name, settings) for name, settings in HELD.items()] + [
    ("eicu", name, settings) for name, settings in (HELD | BY_HOSPITAL).items()
]


@pytest.mark.parametrize(("name", "held", "settings"), LEAKS, ids=[f"{name}-{held}" for name, held, _ in LEAKS])
def test_no_subject_of_another_split_is_in_them(build: Build, name: str, held: str, settings: dict[str, Any]) -> None:
    chosen = {"modalities": ["demographics"], "landmark": "discharge" if name == "mimic" else "unit_discharge"}
    extra = extra_rows(build(name, pretraining_rows=True, **chosen, **settings))
    cohort = pl.read_parquet(build(name, **chosen, **settings) / COHORT)
    key = "hospital_id" if "hospital" in held else "subject_id"
    assert extra.height > 10
    others = cohort.filter(pl.col("split") != "train")
    assert others["split"].n_unique() == (3 if others["split"].is_in(["val"]).any() else 2)
    assert not set(extra[key]) & set(others[key])
    assert not set(extra["subject_id"]) & set(others["subject_id"])
    units = extra["subject_id"] if key == "subject_id" else "hospital " + extra["hospital_id"].cast(pl.String)
    drawn = splits.draw(units, settings.get("split", SplitConfig()))
    assert set(drawn["split"]) == {"train"}
    folds = extra.select("fold", unit=units).join(drawn, left_on="unit", right_on="subject_id")
    assert (folds["fold"] == folds["fold_right"]).all()


def test_subjects_keep_their_index_and_new_ones_continue_it(build: Build) -> None:
    folder = build("mimic", modalities=["demographics"], pretraining_rows=True)
    cohort, extra = pl.read_parquet(folder / COHORT), extra_rows(folder)
    both = pl.concat([cohort, extra], how="diagonal").select("subject_id", "subject").unique()
    assert both["subject"].sort().to_list() == list(range(both.height))
    new = both.join(cohort, on="subject_id", how="anti").sort("subject_id")
    assert new["subject"].to_list() == list(range(cohort["subject"].n_unique(), both.height))
    assert new.height
    assert [name for name in cohort.columns if not name.startswith("label/") and name != "split"] == extra.columns


def people(folder: Path) -> Release:
    """Subject 1 has four admissions, the others one each; 900 is the bystander of the helper, with one."""
    return mimic_iv.write_release(
        folder,
        patients=[patient(1), patient(2, anchor_age=12), patient(3), patient(4)],
        admissions=[
            admission(1, 11, moment(1), moment(5)),
            admission(1, 12, moment(10), moment(12)),
            admission(1, 13, moment(20), moment(21), admission_type="EU OBSERVATION"),
            admission(1, 14, moment(32), moment(31)),
            admission(2, 21, moment(1), moment(5)),
            death(3, 31, moment(1), moment(5), moment(5)),
            admission(4, 41, moment(1), None),
        ],
        icustays=[stay(1, 11, moment(2)), stay(1, 12, moment(11)), stay(2, 21, moment(1)), stay(3, 31, moment(4.5))],
    )


@pytest.mark.parametrize(
    ("settings", "cohort", "extra", "counted"),
    [
        ({"landmark": "discharge"}, {11, 9000}, {12, 13, 21, 31}, [4]),
        ({"landmark": "discharge", "observation_stays": False}, {11, 9000}, {12, 21, 31}, [3]),
        ({"landmark": "discharge", "index": "every"}, {11, 12, 13, 9000}, {21, 31}, [2]),
        ({"landmark": "icu_24h"}, {11, 9000}, {21}, [4, 3, 1]),
    ],
)
def test_every_admission_with_a_prediction_time_is_one_of_either(tmp_path, settings, cohort, extra, counted) -> None:
    release = people(tmp_path / "raw")
    config = MIMICCohortConfig(
        modalities=["demographics"], split=ALL_TRAIN, pretraining_rows=True, max_reversed_share=1, **settings
    )
    folder = build_cohort(database("mimic"), release, config, tmp_path)
    assert set(pl.read_parquet(folder / COHORT)["admission_id"]) == cohort
    assert set(extra_rows(folder)["admission_id"]) == extra
    assert [entry["rows"] for entry in stage.read_json(folder / stage.MANIFEST)["counts"][COUNTS]] == counted


@pytest.mark.parametrize(
    ("settings", "extra", "counted"),
    [
        ({}, {2, 4, 6}, [5, 3]),
        ({"landmark": "unit_discharge"}, {2, 3, 4, 6}, [5, 4]),
        ({"landmark": "unit_discharge", "fold_by": "hospital"}, {2, 3, 4}, [5, 4, 3]),
    ],
)
def test_every_unit_stay_with_a_prediction_time_is_one_of_either(tmp_path, settings, extra, counted) -> None:
    one: dict[str, Any] = {"person": "p", "admission": 9}
    stays = [
        eicu.stay(1, **one),
        eicu.stay(2, begins=9000, **one),
        eicu.stay(3, begins=19000, lasts=1440, unitdischargestatus="Expired", **one),
        eicu.stay(4, age="12"),
        eicu.stay(5, begins=15000, lasts=-3, **one),
        eicu.stay(6, begins=29000, hospitalid=8, **one),
    ]
    release = eicu.write_release(tmp_path / "raw", stays, hospital=[eicu.hospital(7), eicu.hospital(8)])
    config = EICUCohortConfig(modalities=["demographics"], split=ALL_TRAIN, pretraining_rows=True, **settings)
    folder = build_cohort(database("eicu"), release, config, tmp_path)
    assert set(pl.read_parquet(folder / COHORT)["stay_id"]) == {1}
    assert set(extra_rows(folder)["stay_id"]) == extra
    assert [entry["rows"] for entry in stage.read_json(folder / stage.MANIFEST)["counts"][COUNTS]] == counted


@pytest.mark.parametrize(("min_count", "shown"), [(1, "79 more rows"), (80, "< 80 more rows")])
def test_their_number_is_on_the_screen_and_masked_where_it_is_small(build: Build, capsys, min_count, shown) -> None:
    settings = {"modalities": ["demographics"]}
    show_cohort(stage.read_json(build("mimic", pretraining_rows=True, **settings) / stage.MANIFEST), min_count)
    assert f"pre-training: {shown} of train subjects" in capsys.readouterr().out
    show_cohort(stage.read_json(build("mimic", **settings) / stage.MANIFEST), min_count)
    assert "pre-training" not in capsys.readouterr().out


def test_a_database_that_does_not_list_them_refuses() -> None:
    built = CohortRows(pl.DataFrame({"row_id": [0]}), pl.DataFrame(), {})
    with pytest.raises(UserError, match=r"cohort\.pretraining_rows=true: this database lists no rows"):
        pretraining.select(built, SplitConfig())


TEXTS = {
    "hashed": TextConfig(encoder="hashed_ngrams"),
    "tokens": TextConfig(encoder="small"),
}


@pytest.fixture(scope="module")
def opened(build: Build, place: Path) -> Callable[..., OpenedCohort]:
    """Opens the cohort at discharge with encoded texts and published embeddings of images."""

    def opens(text: str = "hashed", held: list[str] | None = None, **settings: Any) -> OpenedCohort:
        name, usual = CASES["discharge"]
        folder = build(name, **usual, **settings)
        images = ImageFolders(embeddings=find_folder([place / "release"], EMBEDDINGS, "files"))
        config = EmbedConfig(text=TEXTS[text], image=ImageConfig(encoder="release"))
        return open_cohort(folder, embed(folder, config, place / "data", images, "cpu"), Reading(held_pattern=held))

    return opens


@pytest.mark.parametrize("text", TEXTS)
def test_documents_and_images_of_extra_rows_are_encoded_and_those_of_the_cohort_stay(opened, text: str) -> None:
    without, with_them = opened(text), opened(text, pretraining_rows=True)
    num_rows = without.table.height
    rows = np.arange(num_rows)
    extra = with_them.pretraining_rows.numpy()
    assert extra.tolist() == list(range(num_rows, num_rows + len(extra_rows(with_them.folder))))
    assert without.names == with_them.names
    for name in with_them.names:
        ours, theirs = with_them.arrays.arrays[name], without.arrays.arrays[name]
        own, other = ours.gather(rows), theirs.gather(rows)
        if isinstance(own, torch.Tensor):
            assert torch.equal(own, other), name
        else:
            assert torch.equal(own.row, other.row), name
            for key, values in own.values.items():
                assert torch.equal(values, other.values[key]), (name, key)
        there = with_them.arrays.present[extra, with_them.names.index(name)]
        gathered = ours.gather(extra[there.numpy()])
        filled = gathered if isinstance(gathered, torch.Tensor) else next(iter(gathered.values.values()))
        assert there.sum() > 10, name
        assert len(filled) >= there.sum(), name
        assert filled.abs().sum() > 0, name
        if ours.present is not None:
            assert bool(ours.present[extra].any()), name


def test_labels_of_extra_rows_do_not_exist_whatever_the_file_holds(build: Build, tmp_path: Path) -> None:
    name, settings = CASES["icu_24h"]
    folder = shutil.copytree(build(name, pretraining_rows=True, **settings), tmp_path / "poisoned")
    poison = pl.lit(value=True).alias("label/in_hospital_mortality")
    extra_rows(folder).with_columns(poison, split=pl.lit("train")).write_parquet(folder / PRETRAINING)
    stage.seal(folder)
    cohort = open_cohort(folder, {})
    assert cohort.table.height == int(cohort.pretraining_rows[0])
    assert not cohort.arrays.label_mask[cohort.pretraining_rows].any()
    assert not cohort.arrays.label[cohort.pretraining_rows].any()
    assert cohort.arrays.label_mask[cohort.rows("train")].all()


def test_no_split_pattern_or_score_counts_them(opened) -> None:
    without, with_them = opened(), opened(pretraining_rows=True)
    for split in ("train", "calibration", "val", "test"):
        assert torch.equal(without.rows(split), with_them.rows(split))
    assert without.patterns == with_them.patterns
    assert without.table.equals(with_them.table)
    assert len(without.pretraining_rows) == 0
    assert without.pretraining_rows.dtype == torch.int64


def test_a_pattern_that_is_held_out_is_not_pre_trained_on(opened) -> None:
    cohort = opened(pretraining_rows=True)
    held = ["structured", "discharge_note"]
    pattern = torch.tensor([name in held for name in cohort.names])
    has_it = (cohort.arrays.present[cohort.pretraining_rows] == pattern).all(1)
    left = opened(pretraining_rows=True, held=held).pretraining_rows
    assert 0 < int(has_it.sum()) < len(has_it)
    assert torch.equal(left, cohort.pretraining_rows[~has_it])


def test_a_target_needs_none_and_reads_none(opened) -> None:
    source, target = opened(), opened(pretraining_rows=True)
    aligned = align(target, Source.of(source))
    assert len(aligned.pretraining_rows) == 0
    assert len(aligned.arrays.label) == aligned.table.height
