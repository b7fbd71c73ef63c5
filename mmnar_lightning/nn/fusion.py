"""Fusion conditioned on the missingness pattern (Liang, Pan and Xiong, EMNLP 2025; docs/method.md, section 1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmnar_lightning.nn.config import FusionConfig
from mmnar_lightning.nn.mlp import projection


class ColumnBlock(nn.Module):
    """A pre-norm self-attention block over the modality tokens; absent tokens are masked.

    Args:
        dim: D.
        num_heads: attention heads, which share D.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Tokens (B, M, D) float and attended (B, M) bool, at least one True per row -> (B, M, D)."""
        tokens = self.attend(tokens, attended)
        fed: Tensor = tokens + self.feed_forward(tokens)
        return fed

    def attend(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """The first half of the block, of the same shapes: self-attention, added to the tokens."""
        batch, num_tokens, dim = tokens.shape
        heads = self.query_key_value(self.attention_norm(tokens))
        query, key, value = heads.view(batch, num_tokens, 3, self.num_heads, dim // self.num_heads).permute(
            2, 0, 3, 1, 4
        )
        mask = attended[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attention: Tensor = self.attention_out(mixed.transpose(1, 2).reshape(batch, num_tokens, dim))
        return tokens + attention


class Fusion(nn.Module):
    """Encodings and presence -> representation (B, D).

    With z = MLP(present): gate_m = sigmoid(W_m z + b_m), token_m = present_m · (gate_m ⊙ e_m + type_m); the
    representation is the mean of the blocks' outputs over present tokens, or a learned `empty` if no modality is
    present, plus a linear map of z. Without conditioning the gates are 1 and z is left out.

    Args:
        num_modalities: M.
        config: width and depth.
    """

    def __init__(self, num_modalities: int, config: FusionConfig) -> None:
        super().__init__()
        dim = config.dim
        self.conditioned = config.conditioned
        if self.conditioned:
            self.pattern = projection(num_modalities, dim, config.dropout)
            self.gate = nn.Linear(dim, num_modalities * dim)
            self.conditioning = nn.Linear(dim, dim)
        self.modality = nn.Parameter(torch.randn(num_modalities, dim) * 0.02)
        self.blocks = nn.ModuleList(ColumnBlock(dim, config.num_heads) for _ in range(config.num_blocks))
        self.empty = nn.Parameter(torch.zeros(dim))

    def forward(self, encodings: Tensor, present: Tensor) -> Tensor:
        """Fuse the encodings of each row.

        Args:
            encodings: (B, M, D) float, finite, zero where absent.
            present: (B, M) bool.

        Returns:
            (B, D) float, finite for every pattern.
        """
        if not self.conditioned:
            return self._fuse(encodings, present)
        pattern = self.pattern(present.to(encodings.dtype))
        gate = torch.sigmoid(self.gate(pattern)).view_as(encodings)
        fused: Tensor = self._fuse(gate * encodings, present) + self.conditioning(pattern)
        return fused

    def _fuse(self, gated: Tensor, present: Tensor) -> Tensor:
        """Self-attention over present tokens and their mean, (B, D)."""
        shown = present.unsqueeze(-1)
        tokens = torch.where(shown, gated + self.modality, 0.0)
        anything = present.any(dim=1, keepdim=True)
        attended = present | ~anything
        for block in self.blocks:
            tokens = block(tokens, attended)
        pooled = torch.where(shown, tokens, 0.0).sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        return torch.where(anything, pooled, self.empty)
