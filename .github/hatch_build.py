"""What the metadata of a release says about the repository that it comes from: URLs, and README with absolute links.

Where the project lies is known when it is released, not here: the release workflow sets SOAPBATCH_REPOSITORY to the
address of the repository. Without it there are no such URLs, and README is taken as it is.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryMetadata(MetadataHookInterface):
    """Adds `readme` and `urls`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them to the metadata of the project."""
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        urls: dict[str, str] = {}
        if repository := os.environ.get("SOAPBATCH_REPOSITORY"):
            files = f"{repository}/blob/v{metadata['version']}"
            # Links of README lead to files of the repository, which a package index does not have.
            readme = re.sub(r"\]\((?!https?://|#)", f"]({files}/", readme)
            urls = {
                "Repository": repository,
                "Issues": f"{repository}/issues",
                "Changelog": f"{files}/CHANGELOG.md",
                "Contributing": f"{files}/.github/CONTRIBUTING.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
        metadata["urls"] = urls
