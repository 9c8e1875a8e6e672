"""Print the requirements of the `dev` dependency group, one a line, for pip versions without --group."""

import pathlib
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())
print("\n".join(project["dependency-groups"]["dev"]))
