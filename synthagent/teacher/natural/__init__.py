"""Tasks in natural language with typed values, written by code."""
