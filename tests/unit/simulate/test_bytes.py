"""The bytes of a release: the same for the same seed, free of clock, host and path, whole or not at all."""

import errno
import getpass
import gzip
import hashlib
import itertools
import signal
import socket
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from data_modules import stage
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.mimic_iv import documents
from data_modules.simulate.release import CHUNK, read_truth, simulate
from mmnar_lightning.cli import main
from tests.helpers.forked import PATIENCE
from tests.helpers.mimic_iv import NOT_SIMULATED
from tests.helpers.paths import ROOT

TWO_CHUNKS = SimulateConfig(subjects=CHUNK + 30, images=True)
TINY = SimulateConfig(databases=["mimic_iv"], subjects=12, images=True)
SAME_FOR_ALL = "hospital.csv.gz"
"""Describes the hospitals, whichever rows they have."""


def digests(folder: Path) -> dict[str, str]:
    """Path inside a folder -> hash of the file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def members(file: Path) -> list[tuple[bytes, bytes]]:
    """Header and content of every member of a gzip file."""
    rest, found = file.read_bytes(), []
    while rest:
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(rest)
        assert stream.eof
        found.append((rest[:10], content))
        rest = stream.unused_data
    return found


@pytest.fixture(scope="module")
def with_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("one") / "release"
    simulate(TWO_CHUNKS, target, processes=1)
    return target


def test_the_same_seed_gives_the_same_bytes_in_one_and_in_two_processes(with_images: Path, tmp_path: Path) -> None:
    simulate(TWO_CHUNKS, tmp_path / "elsewhere", processes=2)
    found, expected = digests(tmp_path / "elsewhere"), digests(with_images)
    assert found == expected
    endings = {Path(name).name.partition(".")[2] for name in expected}
    assert endings >= {"csv.gz", "parquet", "jpg", "tfrecord", "json"}


def test_another_seed_gives_other_people_in_every_file(tmp_path: Path) -> None:
    for seed in (7, 8):
        simulate(SimulateConfig(subjects=40, seed=seed), tmp_path / str(seed))
    first, second = digests(tmp_path / "7"), digests(tmp_path / "8")
    common = set(first) & set(second)
    assert {name for name in first if name.endswith(("csv.gz", "parquet", "json"))} <= common
    assert [name for name in common if first[name] == second[name] and not name.endswith(SAME_FOR_ALL)] == []


def test_whether_images_are_drawn_changes_nothing_else(with_images: Path, tmp_path: Path) -> None:
    simulate(SimulateConfig(subjects=TWO_CHUNKS.subjects, images=False), tmp_path / "none")
    expected = {name: digest for name, digest in digests(with_images).items() if not name.endswith(".jpg")}
    found = digests(tmp_path / "none")
    assert expected.pop("manifest.json") != found.pop("manifest.json")
    assert found == expected


def test_every_table_is_gzip_members_without_time_and_name(with_images: Path) -> None:
    tables = sorted(with_images.rglob("*.csv.gz"))
    assert len(tables) >= len(MIMIC_IV.tables) - len(NOT_SIMULATED)
    for file in tables:
        found = members(file)
        assert len(found) == (2 if file.name == SAME_FOR_ALL else 3), "a header and two chunks"
        for header, _ in found:
            assert header[3] == 0, "no name, comment or extra field"
            assert header[4:8] == bytes(4), "no time"
        whole = b"".join(content for _, content in found)
        assert gzip.decompress(file.read_bytes()) == whole
        assert pl.read_csv(file, infer_schema=False).equals(pl.read_csv(whole, infer_schema=False)), file.name


def test_no_file_shows_where_when_and_by_whom_it_was_made(with_images: Path) -> None:
    today = datetime.now(UTC)
    words = [str(with_images.parent), str(Path.cwd()), f"{today:%Y-%m-%d}", f"{today:%Y%m%d}"]
    words += [word for word in (socket.gethostname(), getpass.getuser()) if len(word) > 4]
    for file in (path for path in with_images.rglob("*") if path.is_file()):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert [word for word in words if word.encode() in content] == [], file
        if file.suffix == ".jpg":
            with Image.open(file) as picture:
                assert not picture.getexif()
                assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_the_same_release_again_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "release"
    counted: list[float] = []
    assert simulate(TINY, target, advance=counted.append)
    assert sum(counted) == TINY.subjects
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert not simulate(TINY, target, advance=lambda _: pytest.fail("drawn again"))
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


@pytest.mark.parametrize("held", ["other seed", "other knob", "a file", "a hidden file", "a cohort"])
def test_a_folder_that_holds_something_else_is_refused_and_left_alone(held: str, tmp_path: Path) -> None:
    target = tmp_path / "release"
    other = {"other seed": replace(TINY, seed=8), "other knob": replace(TINY, rho=2.0)}
    if held in other:
        simulate(other[held], target)
    else:
        target.mkdir()
        name = {"a file": "thesis.tex", "a hidden file": ".thesis", "a cohort": stage.MANIFEST}[held]
        (target / name).write_text('{"rows": 3}')
    before = digests(target)
    with pytest.raises(ValueError, match=r"release holds something else than this release; name another folder"):
        simulate(TINY, target)
    assert digests(target) == before


def test_a_damaged_release_is_named_with_the_command_that_writes_it_again(tmp_path: Path) -> None:
    simulate(TINY, tmp_path / "release")
    path = next((tmp_path / "release").glob("mimiciv/*/hosp/patients.csv.gz"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(stage.StageError, match=r"hosp/patients\.csv\.gz has .* bytes.*`mmnar simulate`"):
        simulate(TINY, tmp_path / "release")


def test_a_file_in_place_of_the_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "release").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        simulate(TINY, tmp_path / "release")
    assert (tmp_path / "release").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    assert simulate(TINY, tmp_path / "release")
    assert read_truth(tmp_path / "release").height == TINY.subjects


@pytest.mark.parametrize("place", ["a image", "the truth", "the manifest"])
def test_a_write_that_fails_leaves_nothing(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if place == "a image":
            usual, calls = documents._write, itertools.count()
            patched.setattr(documents, "_write", lambda *given: full() if next(calls) > 5 else usual(*given))
        elif place == "the truth":
            patched.setattr(pl.DataFrame, "write_parquet", full)
        else:
            patched.setattr(stage, "write_json", full)
        with pytest.raises(stage.StageError, match=r"release: cannot be written \(No space left on device\)"):
            simulate(TINY, tmp_path / "release")
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    assert simulate(TINY, tmp_path / "release")


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(stage.StageError, match=r"file/release: cannot be written"):
        simulate(TINY, tmp_path / "file" / "release")


def test_a_simulation_that_is_killed_leaves_nothing_that_looks_finished(with_images: Path, tmp_path: Path) -> None:
    """It is killed while it draws the pictures of the first chunk; the table of hospitals is already written."""
    target = tmp_path / "release"
    script = (
        "from pathlib import Path; from data_modules.simulate.config import SimulateConfig; "
        "from data_modules.simulate.release import simulate; "
        f"simulate(SimulateConfig(subjects={TWO_CHUNKS.subjects}, images=True), Path({str(target)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not any(tmp_path.glob(".release.*.partial/**/*.jpg")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was to be killed before its end"
    assert not target.exists()
    assert list(tmp_path.glob(".release.*.partial/**/*.gz"))
    assert simulate(TWO_CHUNKS, target)
    assert digests(target) == digests(with_images)
    assert not list(tmp_path.glob(".release.*.partial"))


KNOBS = ("rho", "gamma", "tau", "calendar", "nu", "kappa", "pi", "phi", "shared", "nuisance", "label_share", "shift")
SHARES = ("nu", "kappa", "shared", "label_share")
RATES = ("note_rate", "image_rate", "report_rate")


@pytest.mark.parametrize(
    ("key", "value"),
    [("subjects", 0), ("subjects", -5), ("seed", -1)]
    + [(key, value) for key in KNOBS for value in (-0.1, 10.1, float("nan"))]
    + [("label_share", 0.0)]
    + [(key, 1.01) for key in SHARES]
    + [(key, value) for key in RATES for value in (-0.1, 0.0, 1.0, 1.2, float("nan"))],
)
def test_an_impossible_knob_is_refused_by_its_full_key(key: str, value: float) -> None:
    settings: dict[str, Any] = {key: value}
    with pytest.raises(ValueError, match=rf"^simulate\.{key}={value} must be "):
        SimulateConfig(**settings)


def test_the_command_refuses_with_one_line_and_writes_where_it_was_asked_to(workplace: Path, capsys) -> None:
    assert main(["simulate", "out=there", "simulate.image_rate=1.5"]) == 1
    assert "simulate.image_rate=1.5 must be between 0.01 and 0.99" in capsys.readouterr().out
    assert main(["simulate", "simulate.subjects=12"]) == 1
    assert "simulate needs OUT=/path" in capsys.readouterr().out
    assert not (workplace / "there").exists()
    assert main(["simulate", "out=there", "simulate.subjects=12"]) == 0
    assert "there holds 12 simulated subjects" in capsys.readouterr().out
    assert main(["simulate", "out=there", "simulate.subjects=12", "simulate.seed=8"]) == 1
    assert "there holds something else than this release" in capsys.readouterr().out
    assert Release(MIMIC_IV, [workplace / "there"]).simulated
