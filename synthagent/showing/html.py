"""Pages as HTML from the templates of this room: whatever is not a picture of ours is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthagent.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

# In the report, where `synthagent report-card` joins what differs from run to run.
PLACE = "<!-- `synthagent report-card` joins here what differs from run to run -->"


def environment() -> Environment:
    """Where templates are rendered."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=PackageLoader("synthagent.showing"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
