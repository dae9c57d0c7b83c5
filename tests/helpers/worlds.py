"""A tool for tests of the world."""

from __future__ import annotations

from synthagent.worlds import Tool

NEW_KEYS = ("w", "x", "y", "z")


def a_tool(name: str, required: tuple[str, ...] = ()) -> Tool:
    """A tool whose arguments are a one-letter id, a second one, a colour of lower-case letters and a size up to 9."""
    properties = {
        "id": {"type": "string", "pattern": "^[a-z]$"},
        "to": {"type": "string", "pattern": "^[a-z]$"},
        "colour": {"type": "string", "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 0, "maximum": 9},
    }
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Tool(name=name, parameters=parameters)
