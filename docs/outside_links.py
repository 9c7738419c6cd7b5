"""What the site makes of links that lead out of docs/: the words stay, for the files are not on the site."""

import re

OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)[^)]*\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for every page."""
    return OUTSIDE.sub(r"\1", markdown)
