"""Planted bugs of a cluster: each takes one rule of its members, its coordinator or its disks away (see mutants)."""

from __future__ import annotations

from holdfast.chaos.planting import Mutants

CLUSTER_MUTANTS = Mutants()
