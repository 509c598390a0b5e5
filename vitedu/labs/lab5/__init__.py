"""Lab 5's figures and helpers: diagrams, throughput of several libraries' models, and what to install.

`zoo` needs the library transformers and is imported by itself, after `need`. `scenarios` holds the problems on which
the lab's exercises are tried.
"""

from vitedu.labs.lab5 import contest, library_diagrams
from vitedu.optional_dependencies import need

__all__ = ["contest", "library_diagrams", "need"]
