"""The settings that only some commands read, and the commands that read only some settings."""

COMMANDS = {
    "out": ("simulate", "predict", "export", "compare", "report"),
    "runs": ("compare", "report"),
    "run": ("evaluate", "show", "best", "predict", "export", "report"),
    "to": ("export",),
    "resume": ("train", "trial"),
    "resume_with": ("train", "trial"),
    "sweep": ("sweep",),
    "table": ("table",),
    "simulate.databases": ("simulate",),
    "evaluation.elsewhere": ("evaluate",),
}
"""Setting or group -> the commands that read it; all others are read by more than one."""
READ = {
    "simulate": ("out", "simulate"),
    "show": ("run",),
    "report": ("run", "runs", "out", "evaluation.num_replicates", "seed"),
    "compare": ("runs", "out", "evaluation.num_replicates", "seed"),
    "export": ("run", "out", "to"),
}
"""Command -> the settings and groups that it reads, beside `EVERYWHERE`. The others read those of a training."""
EVERYWHERE = ("experiment", "dataset", "baseline.name", "paths", "privacy", "trainer.progress_bar")
"""What names an experiment and its places, and what is shown."""
KEPT_FREE = (
    "evaluate", "evaluation", "diagnostics.parts", "trainer.accelerator", "trainer.devices", "wandb", "callbacks",
    "loggers", "resume", "transfer.target",
)  # fmt: skip
"""What `evaluate` and `best` read, or compare on their own, beside `EVERYWHERE`; all else they keep from the run."""
