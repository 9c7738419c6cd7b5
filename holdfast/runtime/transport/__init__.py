"""Connections between the processes of a cluster: who may connect, what a frame is, and when a link is lost."""
