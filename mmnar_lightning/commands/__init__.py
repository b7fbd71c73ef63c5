"""The commands of `mmnar`: one file each."""
