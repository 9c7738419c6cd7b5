"""The life of a worker as a state machine: one file per phase, and one parent that only dispatches."""
