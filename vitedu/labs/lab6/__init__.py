"""Lab 6's study of transfer learning: candidates, a table, and the full-size run.

`scenarios` holds the problems on which the lab's exercises are tried.
"""

from vitedu.labs.lab6 import transfer

__all__ = ["transfer"]
