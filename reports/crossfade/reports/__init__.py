"""Reports: one HTML page that people would rather look at than read, and a table for a pull request."""

from crossfade.reports.markdown import insert, markdown
from crossfade.reports.performance import performance
from crossfade.reports.render import render
from crossfade.reports.view import view

__all__ = ["insert", "markdown", "performance", "render", "view"]
