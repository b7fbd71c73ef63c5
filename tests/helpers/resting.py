"""The program, whose epochs begin with half a second of rest: a trial that waits to be stopped spends no core on it."""

import time

from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.cli import run

REST = 0.5

if __name__ == "__main__":
    PatternMetrics.on_train_epoch_start = lambda *_: time.sleep(REST)  # type: ignore[method-assign]
    run()
