"""The settings that only some commands read."""

COMMANDS = {
    "out": ("simulate", "predict", "export", "compare"),
    "runs": ("compare",),
    "run": ("evaluate", "show", "best", "predict", "export"),
    "to": ("export",),
    "resume": ("train", "trial"),
    "resume_with": ("train", "trial"),
    "sweep": ("sweep",),
    "table": ("table",),
    "simulate.databases": ("simulate",),
    "evaluation.elsewhere": ("evaluate",),
}
"""Setting or group -> the commands that read it; all others are read by more than one."""
