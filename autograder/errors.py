"""Errors that a user can mend."""


class UserError(Exception):
    """A mistake of the user's: shown as one sentence, exit status 2."""
