"""Looks into a student's kernel, and a grader who is not root."""

import json
import sys
from pathlib import Path

from autograder.execution.student_kernel import OK, Run, StudentKernel


def printed(run: Run) -> str:
    return "".join(output.get("text", "") for output in run.outputs)


def told(kernel: StudentKernel, expression: str) -> object:
    run = kernel.run(f"import json, os, sys\nprint(json.dumps({expression}))", 20)
    assert run.status == OK, run.error
    return json.loads(printed(run))


def as_somebody_else(folder: Path) -> list[str]:
    """A command prefix: run as a user who is not root, and to whom Python is shown where root alone could read it."""
    hidden = next((p for p in reversed(Path(sys.base_prefix).parents) if not p.stat().st_mode & 1), None)
    script = 'exec setpriv --reuid 12345 --regid 12345 --clear-groups env HOME=/nowhere "$@"'
    if hidden is not None:
        folder.chmod(0o755)
        script = (
            f"set -e; mkdir {folder}/python; mount --bind {sys.base_prefix} {folder}/python\n"
            f"mount -t tmpfs -o mode=755 cover {hidden}; mkdir -p {sys.base_prefix}\n"
            f"mount --bind {folder}/python {sys.base_prefix}; {script}"
        )
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
