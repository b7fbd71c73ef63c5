"""Layers of networks for one vector at a time, in numpy and float64: parts of slow references."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def array(tensor: Any) -> NDArray[np.float64]:
    found: NDArray[np.float64] = tensor.detach().double().numpy()
    return found


def linear(layer: Any, vector: Vector) -> Vector:
    found: Vector = array(layer.weight) @ vector
    return found if layer.bias is None else found + array(layer.bias)


def relu(vector: Vector) -> Vector:
    return np.array([max(value, 0.0) for value in vector])


def gelu(vector: Vector) -> Vector:
    return np.array([0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in vector])


def layer_norm(layer: Any, vector: Vector) -> Vector:
    mean = sum(vector) / len(vector)
    variance = sum((value - mean) ** 2 for value in vector) / len(vector)
    return (vector - mean) / math.sqrt(variance + layer.eps) * array(layer.weight) + array(layer.bias)


def attend(block: Any, tokens: Sequence[Vector]) -> list[Vector]:
    """The first half of a `ColumnBlock`: every token attends to every token, head by head."""
    heads, width = block.num_heads, len(tokens[0]) // block.num_heads
    projected = [linear(block.query_key_value, layer_norm(block.attention_norm, token)) for token in tokens]
    parts = [own.reshape(3, heads, width) for own in projected]
    found = []
    for place, token in enumerate(tokens):
        mixed = np.zeros((heads, width))
        for head in range(heads):
            scores = [math.exp(parts[place][0, head] @ other[1, head] / math.sqrt(width)) for other in parts]
            mixed[head] = sum(score * other[2, head] for score, other in zip(scores, parts, strict=True)) / sum(scores)
        found.append(token + linear(block.attention_out, mixed.reshape(-1)))
    return found
