"""The two-layer projection that all parts of the model use."""

from torch import nn


def projection(in_dim: int, out_dim: int, dropout: float) -> nn.Sequential:
    """Linear to twice the output width, LayerNorm, GELU, dropout, linear to the output width.

    Args:
        in_dim: width of the input.
        out_dim: D.
        dropout: probability of dropping a hidden unit.

    Returns:
        (..., in_dim) float -> (..., out_dim) float.
    """
    return nn.Sequential(
        nn.Linear(in_dim, 2 * out_dim),
        nn.LayerNorm(2 * out_dim),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * out_dim, out_dim),
    )
