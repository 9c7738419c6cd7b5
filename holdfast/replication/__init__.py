"""What members tell each other: frames, exchange and merge, update sets, acknowledgements, catch-up."""
