"""The fusion written a second time, from the equations of docs/method.md, section 1: loops, float64, no masks."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]


def gelu(values: Array) -> Array:
    return np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in values])


def layer_norm(values: Array, weights: Weights, name: str) -> Array:
    centred = values - values.mean()
    return centred / math.sqrt((centred**2).mean() + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(values: Array, weights: Weights, name: str) -> Array:
    return weights[f"{name}.weight"] @ values + weights[f"{name}.bias"]


def mlp(values: Array, weights: Weights, name: str) -> Array:
    hidden = layer_norm(linear(values, weights, f"{name}.0"), weights, f"{name}.1")
    return linear(gelu(hidden), weights, f"{name}.4")


def softmax(scores: list[Any]) -> Array:
    raised = np.exp(np.array(scores) - max(scores))
    return raised / raised.sum()


def attend(tokens: dict[int, Array], weights: Weights, name: str, num_heads: int) -> dict[int, Array]:
    """One pre-norm block over the tokens that are there."""
    dim = len(next(iter(tokens.values())))
    width = dim // num_heads
    parts = {
        m: np.split(linear(layer_norm(token, weights, f"{name}.attention_norm"), weights, f"{name}.query_key_value"), 3)
        for m, token in tokens.items()
    }
    out = {}
    for m, token in tokens.items():
        mixed = np.zeros(dim)
        for head in range(num_heads):
            span = slice(head * width, (head + 1) * width)
            share = softmax([parts[m][0][span] @ parts[other][1][span] / math.sqrt(width) for other in tokens])
            mixed[span] = sum(s * parts[other][2][span] for s, other in zip(share, tokens, strict=True))
        middle = token + linear(mixed, weights, f"{name}.attention_out")
        hidden = linear(layer_norm(middle, weights, f"{name}.feed_forward.0"), weights, f"{name}.feed_forward.1")
        out[m] = middle + linear(gelu(hidden), weights, f"{name}.feed_forward.3")
    return out


def represent(inputs: dict[int, Array], num_modalities: int, weights: Weights, num_heads: int) -> Array:
    """h of one row; `inputs` holds the observed modalities alone, and encoders are named m0, m1, ..."""
    dim = len(weights["fusion.empty"])
    present = np.array([float(m in inputs) for m in range(num_modalities)])
    z = mlp(present, weights, "fusion.pattern")
    gates = 1 / (1 + np.exp(-linear(z, weights, "fusion.gate")))
    tokens = {}
    for m, values in inputs.items():
        name = f"encoders.encoders.m{m}_encoder"
        e = layer_norm(mlp(values, weights, f"{name}.project"), weights, f"{name}.norm")
        tokens[m] = gates[m * dim : (m + 1) * dim] * e + weights["fusion.modality"][m]
    num_blocks = len({key.split(".")[2] for key in weights if key.startswith("fusion.blocks.")})
    for block in range(num_blocks if tokens else 0):
        tokens = attend(tokens, weights, f"fusion.blocks.{block}", num_heads)
    pooled = sum(tokens.values()) / len(tokens) if tokens else weights["fusion.empty"]
    return pooled + linear(z, weights, "fusion.conditioning")


def predict(h: Array, weights: Weights, num_tasks: int) -> Array:
    """One logit a task from h."""
    normed = layer_norm(h, weights, "heads.norm")
    hidden = [gelu(mlp(normed, weights, f"heads.heads.{task}.0")) for task in range(num_tasks)]
    return np.array([linear(hidden[task], weights, f"heads.heads.{task}.2")[0] for task in range(num_tasks)])
