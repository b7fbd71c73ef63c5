"""Time of a bootstrap replicate, beside a floor in plain numpy that scores the AUROC alone; --whole: a million rows.

--bootstrap draws replicates at every size, as before intervals of many rows were analytic.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnar_lightning.evaluation.gains import gains
from mmnar_lightning.evaluation.scores import Scoring, score_each
from mmnar_lightning.metrics import cells
from mmnar_lightning.metrics.bootstrap import draw
from mmnar_lightning.outputs import ScoredRows

REPLICATES = {1_000: 3_000, 10_000: 1_000, 100_000: 500, 1_000_000: 100}
"""Rows -> replicates, enough that sorting the rows once does not count."""
ROWS_PER_SUBJECT = 1.5
TASKS, MODALITIES, SHARE = 3, 4, 0.7


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


def whole(count: int, num_replicates: int) -> None:
    """Print what it takes to score a test split before and after a rectifier: 3 tasks, 16 patterns."""
    parts = [rows_of(count) for _ in range(TASKS)]
    logits, label = (torch.stack(columns, dim=1) for columns in list(zip(*parts, strict=True))[:2])
    generator = torch.Generator().manual_seed(0)
    rows = ScoredRows(
        row_id=torch.arange(count),
        subject=parts[0][2],
        present=torch.rand(count, MODALITIES, generator=generator) < SHARE,
        logits=logits.logit(),
        label=label,
        label_mask=torch.ones(count, TASKS, dtype=torch.bool),
    )
    names = [f"task {number}" for number in range(TASKS)]
    scoring = Scoring(num_replicates=num_replicates, seed=0, min_count=10)
    before, wall, cpu = peak_megabytes(), time.monotonic(), time.process_time()
    shifted = replace(rows, logits=rows.logits + 0.1)
    score_each([rows, shifted], names, list(range(2**MODALITIES)), scoring)
    scored = time.process_time() - cpu
    gains(rows, shifted, names, scoring)
    spent = f"{time.monotonic() - wall:.0f} s, {time.process_time() - cpu:.0f} CPU s ({scored:.0f} without the last)"
    print(
        f"{count:,} rows, {TASKS} tasks, {2**MODALITIES} patterns, {num_replicates} replicates, before and after a "
        f"rectifier, and the difference: {spent}, {peak_megabytes():.0f} MB at most, {before:.0f} MB of them before"
    )


def peak_megabytes() -> float:
    """The most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one line for each number of rows, or the cost of a whole test split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", type=int, help="rows of a test split to score, for example 1000000")
    parser.add_argument("--replicates", type=int, default=1_000, help="of --whole")
    parser.add_argument("--rows", type=int, nargs="+", default=list(REPLICATES), choices=list(REPLICATES))
    parser.add_argument("--bootstrap", action="store_true", help="draw replicates at every size")
    torch.set_num_threads(1)
    given = parser.parse_args()
    if given.bootstrap:
        cells.MANY = sys.maxsize
    if given.whole:
        whole(given.whole, given.replicates)
        return
    print("| rows | four metrics, ns a row and replicate | floor, AUROC alone | ratio |\n|---|---|---|---|")
    for count in given.rows:
        rows, num_replicates = rows_of(count), REPLICATES[count]
        ours = nanoseconds(
            lambda: draw(*rows, None, None, num_replicates=num_replicates, seed=0),  # noqa: B023
            count * num_replicates,
        )
        least = nanoseconds(lambda: floor(*rows, num_replicates), count * num_replicates)  # noqa: B023
        print(f"| {count:,} | {ours:.1f} | {least:.1f} | {ours / least:.2f} |", flush=True)


if __name__ == "__main__":
    main()
