"""The command `vitedu`: which versions are installed, and where a notebook would compute."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib import import_module

import torch

import vitedu
from vitedu.devices import best_device, facts


def program(arguments: Sequence[str] | None = None) -> None:
    """Run the command; `arguments` are those of the command line unless they are given."""
    parser = argparse.ArgumentParser(prog="vitedu", description="What a course on Vision Transformers runs on here.")
    parser.add_argument("--version", action="store_true", help="print versions, and the device that notebooks take")
    if parser.parse_args(arguments).version:
        print(versions())
    else:
        parser.print_help()


def versions() -> str:
    """Two lines: vitedu, torch, torchvision and Python with the system; the device."""
    try:
        # Not an import statement: a grader imports what those name before a submission comes, and few labs need it.
        torchvision = import_module("torchvision").__version__
    except Exception as error:  # it is missing, or made for another torch
        torchvision = f"cannot be imported ({error})"
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    try:
        device = best_device()
        computes = f"{device} ({facts(device)})"
    except ValueError as error:  # VITEDU_DEVICE names none that is here
        computes = str(error)
    packages = f"vitedu {vitedu.__version__}, torch {torch.__version__}, torchvision {torchvision}"
    return f"{packages}, {system}\ndevice: {computes}"


if __name__ == "__main__":
    program()
