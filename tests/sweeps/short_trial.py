"""What a trial does, in a twentieth of a second: `lr` is the metric; `rest`, seconds an epoch; it can be taken up."""

import os
import sys
import time
from pathlib import Path

settings = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
folder = Path(os.environ["MMNAR_TRIAL"])
parts = len(list(folder.glob("logs/*")))
(folder / f"logs/{parts}").mkdir(parents=True)
log = folder / f"logs/{parts}/metrics.csv"
value = float(settings["optim.lr"])
(folder / "config.yaml").write_text(f"optim:\n  lr: {value}\n")
last = folder / "last"
done = int(last.read_text()) if last.exists() else 0
if "fails" in os.environ.get("SHORT_TRIAL", ""):
    sys.exit(1)
log.write_text("epoch,val/auroc,val/auroc_best\n")
for epoch in range(done, int(settings["trainer.max_epochs"])):
    with log.open("a") as file:
        file.write(f"{epoch},{value},{value}\n")
    last.write_text(str(epoch + 1))
    time.sleep(float(os.environ.get("REST", "0")))
    if "preempted" in os.environ.get("SHORT_TRIAL", "") and parts == 0:
        sys.exit(75)
(folder / "DONE").touch()
