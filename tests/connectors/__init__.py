"""Sources and sinks: what a record and an output are, byte by byte, and what happens to a file that changed."""
