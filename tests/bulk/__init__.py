"""Cleaning, importing and exporting."""
