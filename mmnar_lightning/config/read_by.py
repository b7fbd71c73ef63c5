"""The settings that only some commands read."""

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
