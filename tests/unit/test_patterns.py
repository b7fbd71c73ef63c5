import ast
from pathlib import Path

import pytest
import torch

from data_modules import patterns
from data_modules.errors import UserError
from tests.helpers.paths import ROOT

SEEDS = {Path("data_modules/loading/loaders.py"), Path("mmnar_lightning/callbacks/step_seed.py")}
BYTES = {Path("data_modules/databases/mimic_iv/tfrecord.py")}  # checksums and variable-length numbers of a file format


@pytest.mark.parametrize("num_modalities", range(1, patterns.EXACT + 1))
def test_presence_comes_back_from_the_id_and_from_the_label_in_torch_and_in_numpy(num_modalities):
    generator = torch.Generator().manual_seed(num_modalities)
    present = torch.rand(40, num_modalities, generator=generator) < 0.5
    present[0], present[1] = True, False
    ids = patterns.encode(present)
    assert ids.dtype == torch.int64
    assert bool((ids >= 0).all())
    assert torch.equal(patterns.decode(ids, num_modalities), present)
    of_arrays = patterns.encode(present.numpy())
    assert str(of_arrays.dtype) == "int64"
    assert of_arrays.tolist() == ids.tolist()
    back = patterns.decode(of_arrays, num_modalities)
    assert str(back.dtype) == "bool"
    assert back.tolist() == present.tolist()
    labels = [patterns.label(int(code), num_modalities) for code in ids]
    assert labels == ["".join("1" if observed else "0" for observed in row) for row in present.tolist()]
    assert [patterns.parse(text) for text in labels] == ids.tolist()


@pytest.mark.parametrize("num_modalities", [1, 2, 5, 8])
def test_every_pattern_has_an_id_of_its_own_from_zero_upwards(num_modalities):
    ids = torch.arange(2**num_modalities)
    assert torch.equal(patterns.encode(patterns.decode(ids, num_modalities)), ids)


def test_the_first_modality_is_bit_zero_and_the_first_character():
    present = torch.tensor([[True, False, False], [False, False, True]])
    assert patterns.encode(present).tolist() == [1, 4]
    assert [patterns.label(code, 3) for code in (1, 4)] == ["100", "001"]


def test_a_description_names_what_is_present_in_the_cohorts_order():
    assert patterns.describe(patterns.parse("101"), ["labs", "vitals", "notes"]) == "labs + notes"
    assert patterns.describe(0, ["labs"]) == "nothing"


def test_patterns_of_several_dimensions_decode():
    ids = torch.tensor([[0, 1], [2, 3]])
    assert patterns.decode(ids, 2).shape == (2, 2, 2)


def test_an_empty_batch_has_no_patterns():
    ids = patterns.encode(torch.zeros(0, 3, dtype=torch.bool))
    assert (ids.tolist(), ids.dtype) == ([], torch.int64)
    assert patterns.decode(ids, 3).shape == (0, 3)


@pytest.mark.parametrize("num_modalities", [63, 64, 70, 90, 200, 1000])
def test_wide_patterns_have_ids_of_their_own_in_torch_in_numpy_and_in_python(num_modalities):
    generator = torch.Generator().manual_seed(num_modalities)
    present = torch.rand(300, num_modalities, generator=generator) < 0.5
    present[0], present[1], present[2] = True, False, torch.arange(num_modalities) == 5
    present[3] = ~present[2]
    present[4] = torch.arange(num_modalities) == num_modalities - 1
    ids, labels = patterns.encode(present), patterns.labels(present)
    assert ids.dtype == torch.int64
    assert ids.tolist() == patterns.encode(present.numpy()).tolist()
    assert ids.tolist() == [patterns.key(patterns.parse(text)) for text in labels]
    assert len(set(ids.tolist())) == len(set(labels)) == 300
    assert ids[[1, 2]].tolist() == [0, 32], "the ids of a narrow pattern do not depend on the number of modalities"
    assert bool((ids[[0, 3, 4]] < 0).all())
    assert [patterns.label(patterns.parse(text), num_modalities) for text in labels] == labels
    assert [patterns.key(int(code)) for code in ids] == ids.tolist()
    with pytest.raises(AssertionError):
        patterns.decode(ids, num_modalities)
    with pytest.raises(AssertionError):
        patterns.label(int(ids[0]), num_modalities)


def test_members_are_exact_patterns_and_the_rest():
    present = torch.tensor([[False, True] * 35, [True, False] * 35, [False, True] * 35, [True, True] * 35])
    listed = [patterns.parse("01" * 35), patterns.parse("0" * 70), patterns.REST]
    found = patterns.members(patterns.encode(present), listed, 70)
    assert {name: own.tolist() for name, own in found.items()} == {
        "01" * 35: [True, False, True, False],
        "0" * 70: [False] * 4,
        patterns.OTHERS: [False, True, False, True],
    }
    assert list(patterns.members(patterns.encode(present), listed[:1], 70)) == ["01" * 35]
    assert patterns.parse(patterns.OTHERS) == patterns.REST


@pytest.mark.parametrize("text", ["1x0", "10 ", "2"])
def test_a_label_of_other_characters_is_refused(text):
    with pytest.raises(UserError, match="must consist of 0 and 1"):
        patterns.parse(text)


def shifts(path: Path) -> list[int]:
    """Lines of a module that shift bits of something that is not a literal (`1 << 16` is only a size)."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    operations: list[ast.BinOp | ast.AugAssign] = [
        node for node in nodes if isinstance(node, ast.BinOp) and not isinstance(node.left, ast.Constant)
    ]
    operations += [node for node in nodes if isinstance(node, ast.AugAssign)]
    return [node.lineno for node in operations if isinstance(node.op, ast.LShift | ast.RShift)]


def test_only_patterns_shifts_bits_beside_the_arithmetic_of_seeds():
    modules = [path for package in ("data_modules", "mmnar_lightning") for path in (ROOT / package).rglob("*.py")]
    shifting = {path.relative_to(ROOT) for path in modules if shifts(path)}
    assert shifting - SEEDS - BYTES == {Path("data_modules/patterns.py")}
    for path in shifting & SEEDS:
        lines = (ROOT / path).read_text().splitlines()
        assert all("seed" in lines[number - 1] for number in shifts(ROOT / path))
