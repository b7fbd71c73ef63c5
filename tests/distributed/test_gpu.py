"""What only a GPU shows; the equality of ranks is tested on CPUs."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer

from data_modules.loading.placed import ResidentArrays
from mmnar_lightning.config.compose import load
from mmnar_lightning.nn.backbone import tensor_cores
from mmnar_lightning.nn.images import small_backbone
from mmnar_lightning.runs import build, folders, single
from tests.helpers.processes import TRAIN, Started, torchrun, write_cohort

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


@pytest.fixture
def words(tmp_path: Path, monkeypatch) -> list[str]:
    monkeypatch.delenv(folders.RUN_ID_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    write_cohort(tmp_path / "given")
    return [*TRAIN, "paths.cohort=given", "trainer.max_epochs=2", "trainer.accelerator=gpu"]


def test_a_gpu_ends_near_the_cpu(words) -> None:
    gpu = single.train(load([*words, "paths.runs=gpu"]))
    cpu = single.train(load([*words, "paths.runs=cpu", "trainer.accelerator=cpu"]))
    left, right = (torch.load(folder / folders.LAST, weights_only=True)["state_dict"] for folder in (gpu, cpu))
    for name, weight in right.items():
        torch.testing.assert_close(left[name].cpu(), weight, atol=1e-3, rtol=0, equal_nan=True)


def test_bf16_and_a_batch_in_parts_train_on_a_gpu(words) -> None:
    folder = single.train(load([*words, "trainer.precision=bf16-mixed", "trainer.accumulate=2"]))
    assert (folder / "results.json").is_file()


def test_a_run_on_one_device_of_torchrun_and_fsdp_train_and_are_scored(words, tmp_path) -> None:
    for strategy in ("ddp", "fsdp"):
        command = ["-m", "mmnar_lightning", "train", *words, f"trainer.strategy={strategy}", f"paths.runs={strategy}"]
        run = Started(torchrun(1, *command), tmp_path)
        assert run.wait(200) == 0, run.output[-3000:]
        assert list((tmp_path / strategy).glob("custom/*/results.json"))


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


@pytest.mark.parametrize("place", ["host", "device"])
def test_no_step_waits_for_the_device(words, monkeypatch, place) -> None:
    """Every step but those that are logged; the loss offset is fitted, and its subjects are counted."""
    steps = Trainer.fit
    waits: list[str] = []

    class Strict(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.current_epoch == 2 and (batch_idx + 1) % trainer.log_every_n_steps and not trainer.is_last_batch:
                torch.cuda.set_sync_debug_mode("error")
                waits.append("looked")

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            torch.cuda.set_sync_debug_mode("default")

    def fit(trainer, *arguments, **settings) -> None:
        trainer.callbacks.insert(0, Strict())
        steps(trainer, *arguments, **settings)

    monkeypatch.setattr(Trainer, "fit", fit)
    more = ["trainer.max_epochs=3", f"loader.device={place}", "rectifier.start_epoch=1", "loader.batch_size=16"]
    try:
        single.train(load([*words, *more]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) > 5


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_steps_end_near_the_others(words, mode) -> None:
    plain = single.train(load([*words, "paths.runs=plain"]))
    compiled = single.train(load([*words, "paths.runs=compiled", f"trainer.compile={mode}"]))
    left, right = (torch.load(folder / folders.LAST, weights_only=True)["state_dict"] for folder in (plain, compiled))
    for name, weight in left.items():
        torch.testing.assert_close(right[name], weight, atol=1e-3, rtol=0, equal_nan=True)


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
