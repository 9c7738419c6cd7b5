"""Sources and sinks: what a record and an output are, byte by byte, and what a changed file comes to."""
