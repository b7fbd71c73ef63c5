"""On one, two and three ranks a run is the same run: processes that meet as those of torchrun do."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import torch

from mmnar_lightning.runs import folders
from tests.helpers.processes import ROOT, TRAIN, Ranks, write_cohort

RANKS = {
    1: ("equal", "trained", "supervised", "parts", "accumulated", "short", "bf16"),
    2: ("equal", "trained", "accumulated", "bf16"),
    3: ("equal", "parts", "short"),
}
"""Number of ranks -> what is trained on them: each variant on one process and on several."""
MANY = (2, 3)
SUPERVISED = "objective.reconstruction=0 objective.contrast=0 objective.assignment=0"
WITHOUT_DRAWS = "model.loo.sampled=0"
"""Ranks draw which modality they hide by themselves."""
VARIANTS = {
    # The weights stand still; only the offset of the loss moves, and so do the metrics, until patience ends.
    "equal": "optim.lr=1e-14 trainer.max_epochs=6 trainer.patience=2 rectifier.start_epoch=1",
    "trained": f"trainer.max_epochs=3 {WITHOUT_DRAWS}",
    "supervised": f"trainer.max_epochs=1 evaluate=false {SUPERVISED}",
    "parts": f"trainer.max_epochs=1 evaluate=false {SUPERVISED} trainer.accumulate=3",
    "accumulated": f"trainer.max_epochs=1 evaluate=false trainer.accumulate=3 {WITHOUT_DRAWS}",
    # The last batch has one row: with several ranks, some have none.
    "short": f"trainer.max_epochs=2 evaluate=false loader.batch_size=101 {WITHOUT_DRAWS}",
    "bf16": f"trainer.max_epochs=1 trainer.precision=bf16-mixed evaluate=false {WITHOUT_DRAWS}",
}


class Left(NamedTuple):
    """What a run left."""

    folder: Path
    best: dict[str, Any]
    last: dict[str, Any]
    probe: dict[str, Any]

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.folder / "results.json").read_text())

    @property
    def metrics(self) -> pl.DataFrame:
        return pl.read_csv(self.folder / "metrics.csv", infer_schema_length=None)


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> dict[tuple[str, int], Left]:
    place = tmp_path_factory.mktemp("ranks")
    write_cohort(place / "given")
    found = {}
    for ranks, names in RANKS.items():
        variants = " / ".join(f"paths.runs={name}{ranks} {VARIANTS[name]}" for name in names)
        words = [*TRAIN, "paths.cohort=given", "/", *variants.split()]
        run = Ranks(ranks, [str(ROOT / "tests" / "helpers" / "probed.py"), *words], place)
        assert run.wait() == [0] * ranks, run.output
        for name in names:
            (folder,) = (place / f"{name}{ranks}" / "custom").iterdir()
            best, last = (torch.load(folder / file, weights_only=True) for file in (folders.BEST, folders.LAST))
            found[name, ranks] = Left(folder, best, last, torch.load(folder / "probe.pt", weights_only=True))
    return found


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """Every number of nested values, by where it stands."""
    if isinstance(value, dict):
        return {
            key: number for name, entry in value.items() for key, number in numbers(entry, f"{path}/{name}").items()
        }
    if isinstance(value, list):
        return numbers(dict(enumerate(value)), path)
    return {path: float(value)} if isinstance(value, int | float) else {}


@pytest.mark.parametrize("ranks", MANY)
def test_with_equal_weights_metrics_and_both_rectifiers_are_equal(left, ranks) -> None:
    alone, many = left["equal", 1], left["equal", ranks]
    assert numbers(many.results) == pytest.approx(numbers(alone.results), abs=1e-6, nan_ok=True)
    assert len(numbers(alone.results)) > 100
    logged = [frame.select(pl.col("^val/.*$").drop_nulls().implode()) for frame in (alone.metrics, many.metrics)]
    assert numbers(logged[1].to_dict(as_series=False)) == pytest.approx(
        numbers(logged[0].to_dict(as_series=False)), abs=1e-6, nan_ok=True
    )
    offset = alone.last["state_dict"]["loss_offset.offset"]
    assert (offset[:, -1] - offset[:, -2]).abs().max() > 1, "the patterns differ"
    for prefix, one, other in (
        ("rectifier.", alone.best["state_dict"], many.best["state_dict"]),
        ("loss_offset.", alone.last["state_dict"], many.last["state_dict"]),
    ):
        assert one[f"{prefix}offset"].abs().max() > 0.1, prefix
        for key in (name for name in one if name.startswith(prefix)):
            torch.testing.assert_close(other[key], one[key], atol=1e-6, rtol=0, equal_nan=True)


@pytest.mark.parametrize("ranks", MANY)
def test_with_equal_weights_the_same_epoch_is_chosen_and_the_same_is_the_last(left, ranks) -> None:
    alone, many = left["equal", 1], left["equal", ranks]
    assert (many.best["epoch"], many.last["epoch"]) == (alone.best["epoch"], alone.last["epoch"])
    assert alone.last["epoch"] < 5, "patience was meant to end it"


@pytest.mark.parametrize("ranks", MANY)
def test_every_row_is_predicted_once(left, ranks) -> None:
    alone, many = (pl.read_parquet(left["equal", count].folder / "predictions.parquet") for count in (1, ranks))
    assert many["row_id"].to_list() == alone["row_id"].to_list()
    assert many["row_id"].is_unique().all()


def test_losses_and_gradients_are_those_of_one_process_with_the_same_global_batch(left) -> None:
    alone, many = left["trained", 1].probe, left["trained", 2].probe
    assert len(many["losses"]) == len(alone["losses"])
    assert many["losses"][:5] == pytest.approx(alone["losses"][:5], abs=1e-5)
    torch.testing.assert_close(many["gradients"][0], alone["gradients"][0], atol=1e-5, rtol=1e-4)
    assert alone["gradients"][0].norm() > 0.1


def test_the_weights_after_three_epochs_agree(left) -> None:
    alone, many = (left["trained", count].last["state_dict"] for count in (1, 2))
    for name, weight in alone.items():
        torch.testing.assert_close(many[name], weight, atol=1e-4, rtol=0)


def test_ranks_without_a_row_in_the_last_batch_take_part_in_its_step(left) -> None:
    alone, many = left["short", 1], left["short", 3]
    assert many.last["global_step"] == alone.last["global_step"] == 2 * 3
    assert many.probe["losses"] == pytest.approx(alone.probe["losses"], abs=1e-4)
    assert alone.probe["gradients"][2].norm() > 0.01, "the step was meant to be one"
    torch.testing.assert_close(many.probe["gradients"][2], alone.probe["gradients"][2], atol=1e-4, rtol=1e-3)
    for name, weight in alone.last["state_dict"].items():
        torch.testing.assert_close(many.last["state_dict"][name], weight, atol=1e-4, rtol=0)


def test_bf16_keeps_the_equality_within_its_own_precision(left) -> None:
    alone, many = left["bf16", 1].probe, left["bf16", 2].probe
    assert many["losses"] == pytest.approx(alone["losses"], rel=2e-2)
    cosine = torch.cosine_similarity(many["gradients"][0], alone["gradients"][0], dim=0)
    assert cosine > 0.999


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_batch_in_parts_has_the_gradient_of_the_whole_batch(left, ranks) -> None:
    whole, parts = left["supervised", 1].probe, left["parts", ranks].probe
    assert len(parts["gradients"]) == len(whole["gradients"])
    torch.testing.assert_close(parts["gradients"][0], whole["gradients"][0], atol=1e-5, rtol=1e-4)
    losses = torch.tensor(parts["losses"]).view(-1, 3)  # Lightning has divided each by 3
    assert losses.sum(1)[0].item() == pytest.approx(whole["losses"][0], abs=1e-5)
    assert losses.std(1).max() > 1e-3, "the parts are alike: nothing was shown"


def test_a_batch_in_parts_is_the_same_on_two_ranks(left) -> None:
    alone, many = left["accumulated", 1].probe, left["accumulated", 2].probe
    assert many["losses"][:6] == pytest.approx(alone["losses"][:6], abs=1e-5)
    torch.testing.assert_close(many["gradients"][0], alone["gradients"][0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ranks", MANY)
def test_every_file_of_a_run_has_one_writer(left, ranks) -> None:
    (place,) = {run.folder.parents[2] for run in left.values()}
    written = [set(json.loads((place / f"written-{ranks}-{rank}.json").read_text())) for rank in range(ranks)]
    for name in RANKS[ranks]:
        run, alone = left[name, ranks], left[name, 1]
        files = [path for path in run.folder.rglob("*") if path.is_file() and path.name != "probe.pt"]  # the test's own
        for path in files:
            before = path.parent.with_name(f".{path.parent.name}.partial") / path.name  # where a folder is renamed
            opened = {str(path), str(before)}
            assert [rank for rank in range(ranks) if opened & written[rank]] == [0], path
        names = [{str(path.relative_to(found.folder)) for path in found.folder.rglob("*")} for found in (run, alone)]
        assert names[0] == names[1]
        assert len(run.metrics.filter(pl.col("val/auroc").is_not_null())) == run.last["epoch"] + 1, name
