"""How the pages in this folder are built by Sphinx: Markdown + what `reference.py` writes -> HTML in build/docs.

Launch: `make docs`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "SynthAgent"
extensions = ["myst_parser"]
exclude_patterns = ["**/.*"]
nitpicky = True

myst_heading_anchors = 3  # `page.md#a-heading` is a link
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"  # brings its own fonts and icons: a page asks nothing of other servers
html_title = "SynthAgent"
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the reference before Sphinx looks for pages."""
    from reference import write_pages

    write_pages(HERE / "reference", HERE.parent)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
