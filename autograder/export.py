"""The exporter's name on nbgrader's command line, which courses have written down: see reporting/score_export.py."""
