"""What hatchling is told beyond the pyproject.toml files: where things stand once, and what is not built."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class RequirementsOfTheRepository(MetadataHookInterface):
    """Fields of a wheel that are written in the repository's pyproject.toml, as the wheel's own names them."""

    def update(self, metadata: dict[str, Any]) -> None:
        project = tomllib.loads((Path(self.root).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
        extras = project["optional-dependencies"]
        metadata.update({field: project[field] for field in self.config["fields"]})
        metadata["optional-dependencies"] = {name: extras[name] for name in self.config["extras"]}
        metadata["scripts"] = {name: project["scripts"][name] for name in self.config["scripts"]}
        if "requires" in self.config:  # an extra here is what that wheel is for
            metadata["dependencies"] = [f"vitedu=={metadata['version']}", *extras[self.config["requires"]]]


class DevelopmentOnly(BuildHookInterface):
    """The root of the repository can be installed as it lies there; a wheel of it would give students the solutions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            raise SystemExit(
                "The repository itself is only installed for development, with pip's option -e; "
                "`make wheels` builds what others install."
            )
