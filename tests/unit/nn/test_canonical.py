import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor

from data_modules.errors import UserError
from mmnar_lightning.nn import canonical
from mmnar_lightning.nn.canonical import canonical_axes

WIDTHS = (3, 4, 2)
ROWS = 400


def world(seed: int = 0, rows: int = ROWS) -> tuple[list[Tensor], Tensor]:
    """Modalities that share a factor beneath larger variations of their own; where it is low more are absent."""
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=rows)
    present = np.stack([generator.random(rows) < 1 / (1 + np.exp(-factor - shift)) for shift in (4, 1, 0)], axis=1)
    columns = []
    for place, width in enumerate(WIDTHS):
        own = generator.normal(size=(rows, width)) * np.linspace(3, 0.5, width)
        own[:, -1] += factor
        columns.append(np.where(present[:, place, None], own @ mixing(place), 0.0))
    return [torch.from_numpy(own).float() for own in columns], torch.from_numpy(present)


def mixing(place: int) -> NDArray[np.float64]:
    width = WIDTHS[place]
    return np.linalg.qr(np.random.default_rng(place).normal(size=(width, width)))[0]


def slow(columns: list[Tensor], present: Tensor, place: int, count: int) -> NDArray[np.float64]:
    """The generalised eigenvalue problem of canonical correlations: Cxy Cyy⁻¹ Cyx a = λ² Cxx a, with ridges."""
    rows = present[:, place].numpy()
    mine = columns[place].double().numpy()[rows]
    others = [own.double().numpy()[rows] for number, own in enumerate(columns) if number != place]
    flags = [present.double().numpy()[rows, number : number + 1] for number in range(len(columns)) if number != place]
    other = np.hstack([*others, *flags])
    other = other[:, other.std(0) > 0]
    other = (other - other.mean(0)) / other.std(0)
    mine = mine - mine.mean(0)
    n, width = len(mine), mine.shape[1]
    first = mine.T @ mine / n
    first += np.trace(first) / width * width / n * np.eye(width)
    second = other.T @ other / n + other.shape[1] / n * np.eye(other.shape[1])
    between = mine.T @ other / n
    value, vector = eigh(between @ np.linalg.solve(second, between.T), first)
    vector = vector[:, ::-1][:, :count] * np.sqrt(value[::-1][:count])
    return vector * np.sign(vector[np.abs(vector).argmax(0), range(vector.shape[1])])


@pytest.mark.parametrize("parts", [1, 7])
def test_they_solve_the_equations_of_canonical_correlation_in_parts_as_at_once(parts: int) -> None:
    columns, present = world()
    pieces = [own.tensor_split(parts) for own in (*columns, present)]
    found = canonical_axes([(own[:-1], own[-1]) for own in zip(*pieces, strict=True)], 2)
    for place, axes in enumerate(found):
        assert axes.shape == (WIDTHS[place], 2)
        np.testing.assert_allclose(axes.numpy(), slow(columns, present, place, 2), rtol=1e-4, atol=1e-5)


def test_the_first_axis_is_what_modalities_share_where_the_first_principal_one_is_not() -> None:
    columns, present = world(rows=5_000)
    for place, axes in enumerate(canonical_axes([(columns, present)], 1)):
        shared = mixing(place).T[:, -1]
        direction = axes[:, 0].numpy() / np.linalg.norm(axes[:, 0].numpy())
        own = columns[place].numpy()[present[:, place].numpy()]
        principal = np.linalg.svd(own - own.mean(0), full_matrices=False)[2][0]
        assert abs(principal @ shared) < 0.3
        assert abs(direction @ shared) > 0.95


def test_a_modality_alone_and_one_that_never_varies_have_none() -> None:
    columns, present = world()
    columns[1] = torch.where(present[:, 1:2], 2.0, 0.0).expand(-1, WIDTHS[1])
    found = canonical_axes([(columns, present)], 5)
    assert [tuple(own.shape) for own in found] == [(3, 3), (4, 4), (2, 2)]
    assert not found[1].any()
    assert bool(torch.isfinite(torch.cat([own.ravel() for own in found])).all())
    assert bool(found[0].any())
    absent = torch.zeros_like(present)
    assert not torch.cat([own.ravel() for own in canonical_axes([(columns, absent)], 1)]).any()
    (alone,) = canonical_axes([(columns[:1], present[:, :1])], 1)
    assert not alone.any()


def test_too_many_columns_are_refused_with_what_reduces_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_COLUMNS", 11)
    with pytest.raises(UserError, match=r"12 columns together, more than 11; set model.encoder.components"):
        canonical_axes([world()], 1)
