"""What the site does to pages: links that lead out of docs/ go to the repository; search needs nobody else's server."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return the page with links to files beside docs/ (code, SECURITY.md) leading to the repository."""
    root, here = Path(config["config_file_path"]).parent, Path(page.file.abs_src_path).parent

    def lead_out(link: re.Match[str]) -> str:
        target = (here / link[1]).resolve()
        if "://" in link[1] or not target.exists() or target.is_relative_to(config["docs_dir"]):
            return link[0]
        return f"]({config['repo_url']}/blob/main/{PurePosixPath(target.relative_to(root))}{link[2] or ''})"

    return re.sub(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", lead_out, markdown)


def on_files(files: Any, config: Any) -> None:
    """Put the script beside the theme's by which search works from disk."""
    script = Path(config["config_file_path"]).parent / "website/iframe-worker.js"
    files.append(File.generated(config, "assets/iframe-worker.js", abs_src_path=str(script)))
