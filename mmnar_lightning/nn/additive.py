"""The additive head: a linear model of the inputs and the pattern, with slopes that may depend on the pattern."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from data_modules import patterns as pattern_ids
from data_modules.batch import Batch
from data_modules.vocabulary import ARRAY_KINDS, Modality
from mmnar_lightning.nn.inputs import InputMaps, PiecewiseLinear, mapped_width

CANONICAL = "canonical axes"
"""Block of the canonical axes of all modalities."""
Slopes = Literal["shared", "presence", "pattern"]
"""Slopes of the inputs: the same in every pattern; with a deviation for each present modality; or for each pattern."""


class AdditiveHead(nn.Module):
    """w · x + c · bins + d(pattern) · x + b(pattern), one logit per task; all inputs are zero where absent.

    x holds the inputs of all modalities, each a block of columns, mapped or its own. A table in bins has two blocks:
    its bins, which are curves that all patterns share, and its columns, whose slopes may depend on the pattern. The
    last block holds the canonical axes of all modalities (`nn.canonical`), which `set_canonical` gives.

    d(pattern) is zero with shared slopes, the sum of the deviations of the present modalities (products of inputs and
    presence), or the pattern's own deviation. b and d are zero for patterns without train rows. Initialised from a
    penalised logistic regression on the train rows (`nn.additive_fit`); the task heads start at zero and learn only
    what is not additive.

    Args:
        modalities: M modalities; those with several items per row are not used.
        patterns: P patterns of the cohort, or their ids.
        num_tasks: T.
        maps: modality -> the fixed map that its vectors pass first.
        slopes: of the inputs.
        beside: modalities whose own columns are read beside those of their map, for what no component shows; tables in
            bins always are.
        sites: whether rows of the target have an intercept of their own for each pattern, added to b.
        canonical: canonical axes of each modality, at most its columns; 0 = none.
    """

    pattern: Tensor

    def __init__(
        self,
        modalities: Sequence[Modality],
        patterns: Sequence[int],
        num_tasks: int,
        maps: InputMaps,
        slopes: Slopes = "shared",
        beside: Collection[str] = (),
        *,
        sites: bool = False,
        canonical: int = 0,
    ) -> None:
        super().__init__()
        self.names = {
            modality.name: position for position, modality in enumerate(modalities) if modality.kind in ARRAY_KINDS
        }
        widths = {modality.name: modality.width for modality in modalities}
        # Copies: fits in double precision convert a head with its maps, which others read too.
        self.maps = nn.ModuleDict({f"{name}_map": deepcopy(maps[name]) for name in self.names if name in maps})
        self.register_buffer("pattern", torch.tensor(sorted(map(pattern_ids.key, patterns)), dtype=torch.int64))
        self.slopes, self.sites = slopes, sites
        curves = {name: own for name, own in maps.items() if isinstance(own, PiecewiseLinear)}
        # In the order of the modalities, whatever the order of `beside`: the columns of stored weights.
        self.beside = {
            name: curves[name].num_straight if name in curves else widths[name]
            for name in self.names
            if name in curves or (name in beside and name in maps)
        }
        mapped = {name: mapped_width(name, widths[name], maps) for name in self.names}
        columns = {name: curves[name].num_straight if name in curves else width for name, width in mapped.items()}
        self.canonical_width = 0
        for name, width in columns.items() if canonical else ():
            self.register_buffer(f"{name}_axes", torch.zeros(width, min(canonical, width)))
            self.canonical_width += min(canonical, width)
        own = [*mapped.items(), *self.beside.items()]
        self.blocks = [*own, (CANONICAL, self.canonical_width)] if self.canonical_width else own
        self.width = sum(width for _, width in self.blocks)
        self.curved, self.deviating = self._kinds(mapped, curves)
        self.linear = nn.Linear(self.width + len(patterns) * (1 + sites), num_tasks)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        groups = {"shared": 0, "presence": len(modalities), "pattern": len(patterns)}[slopes]
        self.deviation = nn.Parameter(torch.zeros(groups, num_tasks, len(self.deviating))) if groups else None

    def _kinds(self, mapped: Mapping[str, int], curves: Mapping[str, PiecewiseLinear]) -> tuple[list[int], list[int]]:
        """Positions of bins, and those of inputs whose slopes may depend on the pattern: neither bins nor flags."""
        curved: list[int] = []
        deviating: list[int] = []
        start = 0
        for name, width in mapped.items():
            bins = curves[name].num_bins if name in curves else 0
            curved += range(start, start + bins)
            if name not in curves:
                deviating += range(start, start + width)
            start += width
        return curved, [*deviating, *range(start, self.width)]

    def inputs(self, batch: Batch) -> Tensor:
        """(B, F) float: mapped inputs, zero where absent."""
        columns = [self._read(batch, name, mapped=True) for name in self.names]
        columns += [self._read(batch, name, mapped=False) for name in self.beside]
        if self.canonical_width:
            columns += [self._columns(batch, name) @ self._axes(name) for name in self.names]
        return torch.cat(columns, dim=1) if columns else batch.label.new_zeros((len(batch), 0))

    def block_present(self, batch: Batch) -> Tensor:
        """(B, blocks) bool: presence of the modality of each block of inputs."""
        own = batch.present[:, [self.names[name] for name, _ in self.blocks if name != CANONICAL]]
        return torch.cat([own, own.any(1, keepdim=True)], dim=1) if self.canonical_width else own

    def columns(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """What canonical axes are found from: the columns of each modality, and (B, modalities) bool, its presence."""
        return [self._columns(batch, name) for name in self.names], batch.present[:, list(self.names.values())]

    def set_canonical(self, axes: Sequence[Tensor]) -> None:
        """Take the canonical axes of each modality, as of `canonical_axes`."""
        for name, own in zip(self.names, axes, strict=True):
            self._axes(name).copy_(own)

    def _columns(self, batch: Batch, name: str) -> Tensor:
        """(B, columns) float, zero where absent: those of a table, components, or a vector."""
        return self._read(batch, name, mapped=not isinstance(self._map(name), PiecewiseLinear))

    def _axes(self, name: str) -> Tensor:
        axes: Tensor = self.get_buffer(f"{name}_axes")
        return axes

    def _map(self, name: str) -> Any:
        return dict(self.maps.items()).get(f"{name}_map")

    def _read(self, batch: Batch, name: str, *, mapped: bool) -> Tensor:
        values, present = batch.inputs[name], batch.present[:, self.names[name], None]
        assert isinstance(values, Tensor)
        shown = torch.where(present, values, 0.0)
        own = self._map(name)
        if own is None:
            return shown
        if mapped:
            return torch.where(present, own(shown), 0.0)
        return torch.where(present, own.straight(shown), 0.0) if isinstance(own, PiecewiseLinear) else shown

    def own_pattern(self, batch: Batch) -> Tensor:
        """(B, P) bool: one-hot pattern; with sites (B, 2P), then the same for rows of the target, zero for others."""
        own = self._one_hot(batch)
        if not self.sites:
            return own
        site = torch.zeros(len(batch), dtype=torch.bool, device=own.device) if batch.site is None else batch.site
        return torch.cat([own, own & site[:, None]], dim=1)

    def _one_hot(self, batch: Batch) -> Tensor:
        return pattern_ids.encode(batch.present)[:, None] == self.pattern

    def groups(self, batch: Batch) -> Tensor:
        """(B, G) bool: the deviations that apply to each row."""
        return batch.present if self.slopes == "presence" else self._one_hot(batch)

    def forward(self, batch: Batch) -> Tensor:
        """(B, T) float logits."""
        inputs = self.inputs(batch)
        logits: Tensor = self.linear(torch.cat([inputs, self.own_pattern(batch).to(inputs)], dim=1))
        if self.deviation is None:
            return logits
        own = torch.einsum("bf,gtf->bgt", inputs[:, self.deviating], self.deviation)
        return logits + torch.where(self.groups(batch).unsqueeze(-1), own, 0.0).sum(1)
