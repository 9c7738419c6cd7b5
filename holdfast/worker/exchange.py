"""Exchange: a step's messages from every member, in one order.

A stage of a slice sends to a step from several segments; the step gets them merged by position, which is the serial
order. With one member a worker exchanges with itself only, so the columns are here as soon as they are written; the
frames of other members would be gathered at this place, and nowhere else.
"""

from __future__ import annotations

from holdfast.core.pipeline import Pipeline
from holdfast.core.positions import Column, merge
from holdfast.core.steps import Step


class Exchange:
    """Hands the columns that segments wrote to the steps that read them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.columns = pipeline.columns

    def gather(self, step: Step) -> Column:
        """All messages of the slice for this step. Every stage before it has been applied."""
        return merge(list(self.columns[step.index].values()))

    def settle(self, step: Step) -> None:
        """The step has applied them."""
        for column in self.columns[step.index].values():
            column.clear()
