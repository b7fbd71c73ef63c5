"""Raw tables: declarations, file lookup and the reader."""
