"""Raw releases whose truth is known: patients, clinicians and outcomes that follow a causal model."""
