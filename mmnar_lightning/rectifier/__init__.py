"""The rectifier: what is left of a missingness pattern's effect, estimated on subjects that trained nothing."""
