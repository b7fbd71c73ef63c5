"""`mmnar train` that sends itself a signal on one rank: stopped_at.py METHOD CALL RANK SIGNAL key=value ...

The signal comes before the n-th call of a method of the module.
"""

import os
import signal
import sys

from mmnar_lightning.cli import main
from mmnar_lightning.distributed.collectives import rank
from mmnar_lightning.module import MMNARModule
from tests.distributed.test_resume import at


def send() -> None:
    if rank() == int(sys.argv[3]):
        os.kill(os.getpid(), signal.Signals[sys.argv[4]])


if __name__ == "__main__":
    method = sys.argv[1]
    setattr(MMNARModule, method, at(int(sys.argv[2]), send, getattr(MMNARModule, method)))
    sys.exit(main(["train", *sys.argv[5:]]))
