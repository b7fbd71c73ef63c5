"""Weights are read without running what is in a file, and refused by name unless every tensor fits."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmnar_lightning.nn.weights import WeightsError, fingerprint, load_weights, read_weights


class Harm:
    """Running this file's pickle would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_what_was_saved_is_read_back(network: nn.Module, name: str, wrapped: str | None, tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    if name.endswith("pth"):
        torch.save({wrapped: state, "epoch": 3} if wrapped else state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    assert fingerprint(other) != fingerprint(network)
    load_weights(other, read_weights(tmp_path / name), name)
    assert fingerprint(other) == fingerprint(network)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harm(trace), protocol=2))
    torch.save({"weight": torch.ones(1), "extra": Harm(trace)}, tmp_path / "zip.pth")
    for name in ("plain.pth", "zip.pth"):
        with pytest.raises(WeightsError, match=rf"{name}: these weights cannot be read .*nothing is unpickled"):
            read_weights(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("left", [0, 7, 60, -40])
def test_a_broken_file_is_refused_by_name(network: nn.Module, name: str, left: int, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(network.state_dict(), path) if name.endswith("safetensors") else torch.save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(WeightsError, match=rf"{name}: these weights cannot be read"):
        read_weights(path)


def test_a_missing_file_and_one_of_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="this weights file does not exist"):
        read_weights(tmp_path / "gone.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"list\.pth: this file does not hold named tensors only"):
        read_weights(tmp_path / "list.pth")


def test_the_first_tensor_that_does_not_fit_is_named_and_nothing_is_changed(network: nn.Module) -> None:
    state, before = network.state_dict(), fingerprint(network)
    with pytest.raises(WeightsError, match=r"^file: 0\.bias of Sequential is missing"):
        load_weights(network, {key: value + 1 for key, value in state.items() if key != "0.bias"}, "file")
    with pytest.raises(WeightsError, match=r"^file: 1\.weight has the shape \(3,\), expected \(2,\) for Sequential"):
        load_weights(network, {**state, "1.weight": torch.ones(3)}, "file")
    with pytest.raises(WeightsError, match=r"^file: unexpected heads\.weight, not in Sequential"):
        load_weights(network, {**state, "heads.weight": torch.ones(3)}, "file", ignored=["head"])
    assert fingerprint(network) == before


def test_a_classifier_may_be_too_many_and_a_count_of_batches_too_few(network: nn.Module) -> None:
    state = {key: value + 1 for key, value in network.state_dict().items() if "num_batches" not in key}
    load_weights(network, {**state, "head.weight": torch.ones(3)}, "file", ignored=["head"])
    assert torch.equal(network[0].weight, state["0.weight"])
