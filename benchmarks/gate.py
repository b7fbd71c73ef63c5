"""How often the rectifier's gate opens, and what that does to the log-loss, with one standard error and with two.

Rows are made up: eight patterns of unequal shares, logits of standard deviation 1, and an offset of each pattern with
standard deviation tau that the base logit does not know.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mmnar_lightning.rectifier import gate
from mmnar_lightning.rectifier.estimate import Minimum, Rows, estimate

Array = NDArray[np.float64]
SHARE = np.array([0.02, 0.05, 0.08, 0.10, 0.15, 0.20, 0.30, 0.10])
MODALITIES = np.array([1, 2, 2, 2, 3, 3, 3, 4])
MINIMUM = Minimum(rows=20, class_rows=5)
REPLICATES, ERRORS, JUDGED = 150, (1, 2), 2000


def offsets(rows: Rows) -> Array:
    """Those that some rows give, by pattern."""
    return estimate(rows, MODALITIES, 4, MINIMUM).pattern.offset


def shift(fitted: Rows, shifted: Rows) -> Array:
    """What `gate.recommended` asks for."""
    return np.asarray(expit(shifted.logit[:, None] + offsets(fitted)[shifted.pattern][:, None] * gate.STRENGTHS))


def replicate(generator: np.random.Generator, size: int, rate: float, tau: float) -> tuple[float, float, float]:
    """Gain in standard errors of the recommended strength, and the log-loss with it and without, on many rows."""
    truth = tau * generator.standard_normal(len(SHARE))
    pattern = generator.choice(len(SHARE), size, p=SHARE)
    logit = rate + generator.standard_normal(size)
    label = (generator.random(size) < expit(logit + truth[pattern])).astype(float)
    rows = Rows.of(logit, label, np.arange(size), pattern)
    best, gain, error = gate.recommended(rows, shift)
    judged = np.repeat(np.arange(len(SHARE)), JUDGED)
    logit = rate + generator.standard_normal(len(judged))
    risk, weight = expit(logit + truth[judged]), SHARE[judged] / JUDGED

    def loss(moved: Array) -> float:
        return float(-(weight * (risk * np.log(expit(moved)) + (1 - risk) * np.log(expit(-moved)))).sum())

    return gain / error if error > 0 else 0.0, loss(logit + best * offsets(rows)[judged]), loss(logit)


def main() -> None:
    """Print a table."""
    generator = np.random.default_rng(0)
    print("rows  base logit  tau   standard errors: share open, change of the log-loss in 1e-4")
    for size in (750, 3000):
        for rate in (-2.3, -1.4):
            for tau in (0.0, 0.15, 0.3, 0.5):
                found = np.array([replicate(generator, size, rate, tau) for _ in range(REPLICATES)])
                reported = []
                for errors in ERRORS:
                    is_open = found[:, 0] > errors
                    change = 1e4 * np.where(is_open, found[:, 1] - found[:, 2], 0.0).mean()
                    reported.append(f"{errors}: {is_open.mean():4.0%} {change:+7.1f}")
                print(f"{size:4}  {rate:10.1f}  {tau:4.2f}  {'   '.join(reported)}", flush=True)


if __name__ == "__main__":
    main()
