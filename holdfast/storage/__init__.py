"""What is on disk: log, state, the directory that holds them, and what `inspect` says about it."""
