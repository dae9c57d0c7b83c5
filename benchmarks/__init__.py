"""Commands that print a table and a ratio against a named peer, measured in the same run."""
