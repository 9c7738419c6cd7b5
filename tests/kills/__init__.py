"""Real processes, killed at random moments and at named points, until the output must show it."""
