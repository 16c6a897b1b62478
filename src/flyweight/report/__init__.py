"""The report of a run: the value, and its renderings (terminal, JSON, HTML page, network picture)."""

from flyweight.report.value import Report, load_report

__all__ = ["Report", "load_report"]
