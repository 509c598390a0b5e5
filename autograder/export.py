"""The exporter's name on nbgrader's command line, which courses have written down: see reporting/score_export.py."""

from autograder.reporting.score_export import ScoresExporter as ScoresExporter
