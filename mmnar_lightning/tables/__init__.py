"""Tables of methods over cohorts: declared in a file, run entry by entry, scored together."""
