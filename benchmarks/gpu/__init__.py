"""Training steps and embedding on a GPU, beside bare loops (docs/gpu.md)."""
