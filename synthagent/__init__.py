"""SynthAgent: synthetic tasks, mock worlds and rubric rewards that teach small language models to act."""

__version__ = "0.1.0"
