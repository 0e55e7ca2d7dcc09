"""Shared by several test modules: real servers and helpers."""
