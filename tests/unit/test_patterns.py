import ast
from pathlib import Path

import pytest
import torch

from data_modules import patterns
from data_modules.errors import UserError
from tests.helpers.paths import ROOT

SEEDS = {Path("data_modules/loading/loaders.py"), Path("mmnar_lightning/callbacks/step_seed.py")}
BYTES = {Path("data_modules/databases/mimic_iv/tfrecord.py")}  # checksums and variable-length numbers of a file format


@pytest.mark.parametrize("num_modalities", range(1, patterns.MAX_MODALITIES + 1))
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


@pytest.mark.parametrize(
    "call",
    [
        lambda: patterns.encode(torch.ones(1, 63, dtype=torch.bool)),
        lambda: patterns.decode(torch.tensor([0]), 63),
        lambda: patterns.parse("1" * 63),
    ],
    ids=["encode", "decode", "parse"],
)
def test_sixty_three_modalities_are_refused(call):
    with pytest.raises(UserError, match="63 modalities do not fit a pattern id; at most 62 do"):
        call()


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
