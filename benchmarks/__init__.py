"""What holdfast costs, as ratios to plain Python measured beside it; see README.md here."""
