"""The page in which `dvc plots show` draws without a network: Vega's libraries -> `.dvc/plots/page.html`.

DVC's own page loads them from a CDN. The libraries come with vl-convert-python, which only this module needs.

Launch: `pip install vl-convert-python==1.9.0.post1`, then `python -m synthagent.ops.plots_page .dvc/plots/page.html`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from synthagent.store import write_text

# What a page may do: run what stands in it (Vega compiles its expressions), and load nothing.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
_LITE = "6.4"  # of Vega-Lite
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{refresh_tag}
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="@policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>synthagent: plots</title>
<style>body { font: 14px system-ui, sans-serif; } body > div { overflow-x: auto; margin: 1rem 0; }</style>
<!-- Vega @vega, Vega-Lite @lite and vega-embed @embed, BSD-3-Clause, (c) University of Washington Interactive Data Lab
and the Vega authors; bundled by vl-convert-python @bundler. Made by `python -m synthagent.ops.plots_page`. -->
<script>
(() => {
@library
})();
if (location.hash === "#live") setTimeout(() => location.reload(), 5000); // of a training that runs
const embed = window.vegaEmbed;
const menu = { export: true, source: false, compiled: false, editor: false }; // no link to an editor elsewhere
window.vegaEmbed = (place, spec) => embed(place, spec, { renderer: "svg", actions: menu });
</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page() -> str:
    """The page, with the places that DVC fills."""
    import vl_convert

    versions = {
        "vega": vl_convert.get_vega_version(),
        "lite": _LITE,
        "embed": vl_convert.get_vega_embed_version(),
        "bundler": vl_convert.__version__,
    }
    text = _PAGE.replace("@policy", _POLICY)
    for name, version in versions.items():
        text = text.replace(f"@{name}", version)
    library = vl_convert.javascript_bundle(vl_version=_LITE)
    return text.replace("@library", library.replace("</script", "<\\/script"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m synthagent.ops.plots_page OUT.html")
    write_text(Path(sys.argv[1]), page())
