"""A short form of `make storm`: a few kills, damaged files and bad inputs that need no training, and its page."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from benchmarks.storm import damage, inputs, kills, place, run
from benchmarks.storm.case import Case
from benchmarks.storm.page import page

SHORT = ("simulate", "cohort")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with what the stages need that import no torch."""
    folder = tmp_path_factory.mktemp("storm") / "whole"
    folder.mkdir()
    made = {}
    for name in SHORT:
        stage = place.STAGES[name]
        seconds = place._require(folder, stage.words)
        made[name] = {"seconds": seconds, "made": stage.made(folder)}
    (folder / "undisturbed.json").write_text(json.dumps(made))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case("kill", "simulate", 0),
        Case("kill", "cohort", 3),
        Case("input", "setting", 0),
        Case("input", "table of a release", 1),
    ],
    ids=str,
)
def test_what_is_tried_holds(case: Case, whole: Path) -> None:
    assert run.one(case, whole, float("inf")) == ""


@pytest.mark.slow
def test_what_does_not_hold_is_seen(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = json.loads((whole / "undisturbed.json").read_text())
    first = next(iter(undisturbed["cohort"]["made"]))
    changed = {**undisturbed["cohort"]["made"], first: "of something else"}
    assert first in kills.different(undisturbed["cohort"]["made"], changed)
    monkeypatch.setattr(inputs, "WORDS", ("seed=3",))
    assert inputs.tried(Case("input", "setting", 0), whole, whole.parent / "case", undisturbed).startswith("status 0")


def test_every_kind_is_tried_often_enough() -> None:
    assert len(kills.cases()) >= 200
    assert len(inputs.cases()) >= 100
    assert {case.what for case in kills.cases()} == set(place.STAGES)


@pytest.mark.parametrize("kind", [0, 1])
def test_damage_changes_one_bit_or_cuts(kind: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)))
    damage.damage(path, kind, random.Random(0))
    after = path.read_bytes()
    if kind:
        assert after == bytes(range(200))[: len(after)]
        assert len(after) < 200
    else:
        changed = [(old ^ new).bit_count() for old, new in zip(bytes(range(200)), after, strict=True)]
        assert sum(changed) == 1


def test_a_storm_is_resumed_and_its_page_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [Case("kill", "train", 0), Case("damage", "own/cohorts/a/cohort.parquet", 1), Case("input", "setting", 2)]
    tried: list[Case] = []

    def outcome(case: Case, *_: object) -> str:
        tried.append(case)
        return "a | traceback" if case.kind == "damage" else ""

    monkeypatch.setattr(run, "build", lambda whole: whole.mkdir() or (whole / "undisturbed.json").write_text("{}"))
    monkeypatch.setattr(run, "all_cases", lambda _: cases)
    monkeypatch.setattr(run, "WORK", dict.fromkeys(run.WORK, outcome))
    run.storm(tmp_path, minutes=1, processes=1, most=2)
    monkeypatch.setattr(run, "build", lambda _: None)
    found = run.storm(tmp_path, minutes=1, processes=1)
    assert sorted(tried) == sorted(cases), "none is tried twice"
    written = page(found)
    assert "3 tried, 2 held, 1 failed" in written
    assert "| train | 1 | 1 | 0 |" in written
    assert "| cohort | 1 | 0 | 1 |" in written
    assert r"| damage | own/cohorts/a/cohort.parquet | 1 | a \| traceback |" in written
    assert run.storm(tmp_path, minutes=0, processes=1).equals(found)
    assert isinstance(found, pl.DataFrame)
