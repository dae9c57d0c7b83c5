"""Roles played by language models: one client, a store of what they answered, prompts as files."""
