"""Simulator, faults, schedules and verdicts, for users' own applications too."""
