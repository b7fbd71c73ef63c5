"""Raw releases with known truth: subjects, clinicians and outcomes follow a causal model."""
