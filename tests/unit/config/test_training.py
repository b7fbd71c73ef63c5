"""Settings of the Trainer, of callbacks and of loggers: what is refused, before anything is imported or trained."""

import inspect
import sys
from types import SimpleNamespace

import pytest
from lightning import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.config.training import OF_TRAINER, OF_WANDB
from mmnar_lightning.runs import devices, trainer
from mmnar_lightning.runs.fit import compiled_losses
from mmnar_lightning.runs.named import build_named, refuse_unknown

BAD = {
    "trainer.devices=0": "at least 1",
    "trainer.devices=all": r"trainer.devices=all: expected a number of devices, auto, or a list of different GPUs",
    "trainer.devices=[0,0]": "a list of different GPUs",
    "trainer.devices=[]": "a list of different GPUs",
    "trainer.devices=true": "expected a number of devices",
    "trainer.extra={max_epochs: 3}": r"trainer.extra.max_epochs=3: trainer.max_epochs decides it",
    "trainer.extra.fast_dev_run=true": "debug/fast",
    "wandb.init={project: mine}": r"wandb.init.project=mine: set WANDB_PROJECT",
    "callbacks=[{class: Mine}]": r"callbacks: .* must be {class: package.module.Name, args: {...}}",
    "callbacks=[{class: a.b, arg: 3}]": "must be {class",
    "loggers=[{args: {x: 1}}]": "must be {class",
    "loggers=[{class: 'a.b; import os'}]": "must be {class",
}


@pytest.mark.parametrize(("word", "says"), BAD.items(), ids=BAD)
def test_a_bad_setting_is_refused(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load([word])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["evaluation.inner_folds=3"],
            "trainer.compile=default needs batches of one shape, but evaluation.inner_folds=3",
        ),
        (["trainer.strategy=fsdp"], "trainer.compile=default: a sharded model is not compiled"),
        (
            ["trainer.accumulate=2", "trainer.compile=reduce-overhead"],
            "trainer.compile=reduce-overhead replays graphs whose gradients trainer.accumulate=2 cannot add up",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_the_reason(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(["trainer.compile=default", *words])


def test_several_devices_are_not_compiled() -> None:
    run = SimpleNamespace(config=load(["trainer.compile=default"]))
    with pytest.raises(ConfigError, match=r"trainer.compile=default is for one device, and there are 2"):
        compiled_losses(run, SimpleNamespace(world_size=2), SimpleNamespace(model=None))  # type: ignore[arg-type]


def test_items_and_a_machine_without_a_compiler_are_refused(monkeypatch) -> None:
    compiled = load(["trainer.compile=default"])
    with pytest.raises(ConfigError, match=r"rows have any number of items of notes, cxr; omit it, or encode them once"):
        devices.check_compile(compiled, ["notes", "cxr"])
    devices.check_compile(load([]), ["notes"])
    found = {"g++": "/usr/bin/g++"}
    monkeypatch.setattr("mmnar_lightning.runs.devices.shutil.which", found.get)
    monkeypatch.delenv("CXX", raising=False)
    devices.check_compile(compiled, [])
    found.clear()
    with pytest.raises(ConfigError, match=r"torch.compile needs a C\+\+ compiler, and g\+\+ is not found"):
        devices.check_compile(compiled, [])


def test_16_bits_need_a_gpu() -> None:
    with pytest.raises(ConfigError, match=r"16-mixed needs a GPU, but trainer\.accelerator=cpu"):
        load(["trainer.precision=16-mixed", "trainer.accelerator=cpu"])


def test_weights_in_16_bits_are_not_sharded() -> None:
    with pytest.raises(ConfigError, match="precision=bf16-true: shards have one number format; use bf16-mixed, or ddp"):
        load(["trainer.precision=bf16-true", "trainer.strategy=fsdp"])


@pytest.mark.parametrize(("word", "number"), [("3", 3), ("auto", None), ("[0, 2]", 2)])
def test_devices_are_a_number_all_or_a_list(word: str, number: int | None) -> None:
    assert load([f"trainer.devices={word}"]).trainer.num_devices == number


def test_what_is_refused_are_arguments_that_lightning_and_w_and_b_have() -> None:
    import wandb

    assert set(OF_TRAINER) <= set(inspect.signature(Trainer.__init__).parameters)
    assert set(OF_WANDB) <= set(inspect.signature(wandb.init).parameters)


def test_an_argument_that_lightning_lacks_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"trainer.extra.max_tim=3: .* did you mean max_time\?"):
        trainer._extra({"max_tim": 3})


def test_a_value_that_lightning_refuses_is_a_line_that_names_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"trainer.extra.limit_train_batches=abc: expected a number of batches"):
        trainer._limited(10, "abc")


def test_an_argument_that_wandb_lacks_is_refused_with_the_nearest_one() -> None:
    import wandb

    with pytest.raises(ConfigError, match=r"wandb.init.note=a: wandb.init has no such argument; did you mean notes\?"):
        refuse_unknown("wandb.init", {"note": "a"}, wandb.init, "wandb.init")


def test_a_file_that_is_not_utf_8_is_refused_by_name(tmp_path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"optim: {lr: 0.1} # \xe9\n")
    with pytest.raises(ConfigError, match=r"own.yaml: byte 19 is not UTF-8 text; save the file in UTF-8"):
        load([f"experiment={tmp_path / 'own.yaml'}"])


def test_a_class_path_imports_nothing_until_it_is_built(tmp_path, monkeypatch) -> None:
    (tmp_path / "foreign_code.py").write_text(
        "from lightning import Callback\nclass Mine(Callback):\n    def __init__(self, every): self.every = every\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = load(["callbacks=[{class: foreign_code.Mine, args: {every: 3}}]"])
    assert "foreign_code" not in sys.modules
    (found,) = build_named("callbacks", config.callbacks)
    assert isinstance(found, Callback)
    assert vars(found)["every"] == 3


@pytest.mark.parametrize(
    ("path", "args", "says"),
    [
        ("no_such_package.Mine", {}, "No module named 'no_such_package'; install the package"),
        ("lightning.pytorch.callbacks.Nothing", {}, "has no attribute 'Nothing'"),
        ("lightning.pytorch.loggers.CSVLogger", {}, "is no subclass of .*Callback"),
        ("lightning.pytorch.callbacks.Timer", {"hours": 3}, r"refuses args={'hours': 3}"),
    ],
)
def test_a_class_that_cannot_be_built_is_refused(path: str, args: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_named("callbacks", [{"class": path, "args": args}])


def test_a_logger_writes_into_the_run_unless_it_is_given_another_folder() -> None:
    entries = [{"class": "lightning.pytorch.loggers.CSVLogger", "args": given} for given in ({}, {"save_dir": "there"})]
    first, second = build_named("loggers", entries, save_dir="run")
    assert isinstance(first, CSVLogger)
    assert (first.root_dir.split("/")[0], second.root_dir.split("/")[0]) == ("run", "there")


def test_bf16_without_instructions_is_warned_of_and_float16_refused(monkeypatch, capsys) -> None:
    monkeypatch.setattr(devices, "_on_processors", lambda _: True)
    with pytest.raises(ConfigError, match="16-mixed needs a GPU, and none is used"):
        devices.check_precision(load(["trainer.precision=16-mixed"]))
    for flags, warned in (("avx2", True), ("avx2 avx512_bf16", False)):
        monkeypatch.setattr(devices, "has_bf16", lambda own=flags: devices.BF16_FLAGS & set(own.split()))
        devices.check_precision(load(["trainer.precision=bf16-mixed"]))
        assert ("about 7 times slower" in capsys.readouterr().out) is warned


def test_a_list_of_gpus_without_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer.devices=\[0, 1\] lists GPUs, but none is used"):
        devices.check_cores(load(["trainer.devices=[0, 1]", "trainer.accelerator=cpu"]))


def test_a_quota_of_cores_limits_the_ranks(monkeypatch):
    monkeypatch.setattr(devices, "usable_cores", lambda: 1)
    with pytest.raises(ConfigError, match="may use 1 processor cores"):
        devices.check_cores(load(["trainer.devices=2", "trainer.accelerator=cpu"]))
