"""Worker processes: what all of them have in common, and a pool for work that may kill its process."""
