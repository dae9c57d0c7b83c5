"""Turns as text, for tests of what reads them."""

from __future__ import annotations

import json

from synthagent.episodes.turn import Turn


def render_turn(turn: Turn) -> str:
    """The inverse of `parse_turn` for well-formed turns."""
    calls = [
        f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {json.dumps(call.arguments)}}}\n</tool_call>'
        for call in turn.calls
    ]
    return "\n".join(([turn.text] if turn.text else []) + calls)
