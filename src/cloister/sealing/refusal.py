"""What is wrong with an artifact, by the id of the check that it failed."""

from __future__ import annotations

from cloister.errors import Refused


class ArtifactRefused(Refused):
    """An artifact, or a signature over a model, is not what it should be; nothing of it is used."""
