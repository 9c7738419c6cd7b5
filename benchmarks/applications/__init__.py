"""The applications that are measured; input and output files are named by the environment."""
