"""Tests of the shell around the worker machine, over real stores."""
