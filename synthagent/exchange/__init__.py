"""Datasets of others, read; datasets of ours, written in formats of others."""
