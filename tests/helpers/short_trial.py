"""What a trial does, in a twentieth of a second: `optim.lr` is its metric, and it can be taken up again.

REST: seconds of an epoch. SHORT_TRIAL=preempted stops its first start after one epoch, SHORT_TRIAL=fails fails.
"""

import os
import sys
import time
from pathlib import Path


def main() -> int:
    settings = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    folder, asked = Path(os.environ["MMNAR_TRIAL"]), os.environ.get("SHORT_TRIAL")
    value = float(settings["optim.lr"])
    start = len(list(folder.glob("logs/*")))
    (folder / f"logs/{start}").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"optim:\n  lr: {value}\n")
    if asked == "fails":
        return 1
    last = folder / "last"
    with (folder / f"logs/{start}/metrics.csv").open("w") as log:
        print("epoch,val/auroc,val/auroc_best", file=log, flush=True)
        for epoch in range(int(last.read_text()) if last.exists() else 0, int(settings["trainer.max_epochs"])):
            print(f"{epoch},{value},{value}", file=log, flush=True)
            last.write_text(str(epoch + 1))
            time.sleep(float(os.environ.get("REST", "0")))
            if asked == "preempted" and start == 0:
                return 75
    (folder / "DONE").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
