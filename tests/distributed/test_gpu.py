"""What only a GPU shows; the equality of ranks is tested on CPUs."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lightning import Callback, Trainer

from data_modules.loading.placed import ResidentArrays
from mmnar_lightning.config.compose import load
from mmnar_lightning.nn.backbone import tensor_cores
from mmnar_lightning.nn.images import small_backbone
from mmnar_lightning.runs import build, folders, single
from tests.helpers.processes import TRAIN, Started, torchrun, write_cohort

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings(
        "ignore:GPU available but not used",
        "ignore:Synchronization debug mode is a prototype",
        "ignore:The CUDA Graph is empty",
        "ignore:TensorFloat32 tensor cores",
    ),
]


@pytest.fixture
def words(tmp_path: Path, monkeypatch) -> list[str]:
    monkeypatch.delenv(folders.RUN_ID_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    write_cohort(tmp_path / "given")
    return [*TRAIN, "paths.cohort=given", "trainer.max_epochs=2", "trainer.accelerator=gpu"]


def last_loss(folder: Path) -> float:
    """Of the val rows after the last epoch. Weights differ more: AdamW makes whole steps of gradients of noise."""
    losses = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)["val/loss"].drop_nulls()
    return float(losses[-1])


def test_a_gpu_ends_near_the_cpu(words) -> None:
    gpu = single.train(load([*words, "paths.runs=gpu"]))
    cpu = single.train(load([*words, "paths.runs=cpu", "trainer.accelerator=cpu"]))
    assert last_loss(gpu) == pytest.approx(last_loss(cpu), abs=1e-3)


def test_bf16_and_a_batch_in_parts_train_on_a_gpu(words) -> None:
    folder = single.train(load([*words, "trainer.precision=bf16-mixed", "trainer.accumulate=2"]))
    assert (folder / "results.json").is_file()


@pytest.mark.parametrize("compiled", ["none", "reduce-overhead"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-mixed"])
def test_narrow_numbers_learn_nearly_as_much_as_32_bits(words, precision, compiled) -> None:
    quick = [*words, "rectifier.fit=none", "optim.lr=3e-3"]
    still = last_loss(single.train(load([*words, "rectifier.fit=none", "optim.lr=1e-9", "evaluate=false"])))
    whole = last_loss(single.train(load([*quick, "evaluate=false"])))
    narrow = single.train(load([*quick, f"trainer.precision={precision}", f"trainer.compile={compiled}"]))
    assert (narrow / "results.json").is_file()
    assert still - last_loss(narrow) == pytest.approx(still - whole, rel=0.1)


@pytest.mark.parametrize("more", ["strategy=ddp", "strategy=fsdp", "strategy=fsdp trainer.precision=16-mixed"])
def test_a_run_on_one_device_of_torchrun_trains_and_is_scored(words, tmp_path, more) -> None:
    run = Started(torchrun(1, "-m", "mmnar_lightning", "train", *words, *f"trainer.{more}".split()), tmp_path)
    assert run.wait(200) == 0, run.output[-3000:]
    assert list((tmp_path / "runs").glob("custom/*/results.json"))


def test_a_run_of_torchrun_chooses_the_additive_head_and_its_strength(words, tmp_path) -> None:
    more = ["model.additive.inverse_penalties=[0.3,1.0]", "model.encoder.bins=4", "evaluation.inner_folds=2"]
    run = Started(torchrun(1, "-m", "mmnar_lightning", "train", *words, *more, "trainer.strategy=ddp"), tmp_path)
    assert run.wait(200) == 0, run.output[-3000:]
    assert "strength of the network beside the additive head" in run.output


def opened(words) -> tuple[Any, Any]:
    settings = load(words)
    datamodule = build.build_datamodule(settings)
    datamodule.prepare_data()
    datamodule.setup()
    return settings, datamodule


def test_batches_on_the_device_are_those_of_the_files(words) -> None:
    _, datamodule = opened(words)
    resident = ResidentArrays(datamodule.cohort.arrays, torch.device("cuda"))
    rows = datamodule.cohort.rows("train")[:50]
    expected, found = datamodule.cohort.arrays.gather(rows), resident.gather(rows)
    for name, values in expected.inputs.items():
        assert found.inputs[name].is_cuda
        assert torch.equal(found.inputs[name].cpu(), values)
    for name in ("row_id", "subject", "present", "label", "label_mask"):
        assert torch.equal(getattr(found, name).cpu(), getattr(expected, name))


@pytest.mark.parametrize("more", ["loader.device=host", "loader.device=device", "trainer.accumulate=2"])
def test_no_step_waits_for_the_device(words, monkeypatch, more) -> None:
    """Every step but those that are logged; the loss offset is fitted, and its subjects are counted."""
    steps = Trainer.fit
    waits: list[str] = []

    class Strict(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            logs = trainer.is_last_batch or trainer._logger_connector.should_update_logs
            if trainer.current_epoch == 2 and not logs:
                torch.cuda.set_sync_debug_mode("error")
                waits.append("looked")

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            torch.cuda.set_sync_debug_mode("default")

    def fit(trainer, *arguments, **settings) -> None:
        trainer.callbacks.insert(0, Strict())
        steps(trainer, *arguments, **settings)

    monkeypatch.setattr(Trainer, "fit", fit)
    few = ["trainer.max_epochs=3", "rectifier.start_epoch=1", "loader.batch_size=16"]
    try:
        single.train(load([*words, *few, more]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) > 5


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_steps_end_near_the_others(words, mode) -> None:
    plain = single.train(load([*words, "paths.runs=plain"]))
    compiled = single.train(load([*words, "paths.runs=compiled", f"trainer.compile={mode}"]))
    assert last_loss(compiled) == pytest.approx(last_loss(plain), abs=1e-3)


def test_a_frozen_encoder_in_tf32_is_near_float32() -> None:
    backbone = small_backbone().to("cuda").eval()
    pixels = torch.randint(0, 255, (8, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        exact = deepcopy(backbone).cpu()({"pixels": pixels})
        with tensor_cores(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "high"
            found = backbone({"pixels": pixels.to("cuda")}).cpu()
    assert torch.get_float32_matmul_precision() == "highest"
    torch.testing.assert_close(found, exact, atol=2e-2, rtol=2e-2)
