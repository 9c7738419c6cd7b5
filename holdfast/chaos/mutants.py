"""Planted bugs."""
from __future__ import annotations
MUTANTS: dict = {}
