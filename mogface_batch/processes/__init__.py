"""Processes for work that may kill its process, and what such a process needs."""
