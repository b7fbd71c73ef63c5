"""What only a GPU shows; the equality of ranks is tested on CPUs."""

from pathlib import Path

import pytest
import torch

from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import folders, single
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
