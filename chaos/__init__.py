"""Scripts that kill real workers; what they are made of is in holdfast/chaos. See README.md here."""
