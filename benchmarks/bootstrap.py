"""Time of a bootstrap replicate, beside a floor in plain numpy that scores the AUROC alone."""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnar_lightning.metrics.bootstrap import draw

REPLICATES = {1_000: 3_000, 10_000: 1_000, 100_000: 300, 1_000_000: 40}
"""Rows -> replicates, enough that sorting the rows once does not count."""
ROWS_PER_SUBJECT = 1.5


def rows_of(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, labels and subjects of calibrated predictions, 11 % positives."""
    generator = np.random.default_rng(0)
    probability = generator.beta(1, 8, size=count)
    label = (generator.random(count) < probability).astype(float)
    subject = generator.integers(int(count / ROWS_PER_SUBJECT), size=count)
    return torch.from_numpy(probability), torch.from_numpy(label), torch.from_numpy(subject)


def floor(probability: Tensor, label: Tensor, subject: Tensor, num_replicates: int) -> NDArray[np.float64]:
    """Draw subjects, weigh the sorted rows, cumulate them, and sum over the positives: one metric, without ties."""
    order = np.argsort(-probability.numpy())
    truth = label.numpy()[order]
    names, dense = np.unique(subject.numpy()[order], return_inverse=True)
    positive, generator = np.flatnonzero(truth > 0), np.random.default_rng(0)
    found = np.empty(num_replicates)
    for number in range(num_replicates):
        weight = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))[dense]
        below = np.cumsum(weight * (1 - truth))
        own = weight[positive]
        found[number] = 1 - (own * below[positive]).sum() / (own.sum() * below[-1])
    return found


def nanoseconds(work: Callable[[], object], count: int) -> float:
    """CPU time of the faster of two runs, for each row and replicate."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1e9 * min(seconds) / count


def main() -> None:
    """Print one line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(REPLICATES), choices=list(REPLICATES))
    torch.set_num_threads(1)
    print("| rows | four metrics, ns a row and replicate | floor, AUROC alone | ratio |\n|---|---|---|---|")
    for count in parser.parse_args().rows:
        rows, num_replicates = rows_of(count), REPLICATES[count]
        ours = nanoseconds(
            lambda: draw(*rows, None, None, num_replicates=num_replicates, seed=0),  # noqa: B023
            count * num_replicates,
        )
        least = nanoseconds(lambda: floor(*rows, num_replicates), count * num_replicates)  # noqa: B023
        print(f"| {count:,} | {ours:.1f} | {least:.1f} | {ours / least:.2f} |", flush=True)


if __name__ == "__main__":
    main()
