"""The rectifier: the residual effect of each missingness pattern, estimated on subjects outside of training."""
