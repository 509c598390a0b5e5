"""Errors that a reader can mend: each is one sentence that says what was expected and what to do."""


class DataError(ValueError):
    """Data cannot be had: an argument does not fit, files are missing or damaged, or there is no network."""
