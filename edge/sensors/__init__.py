"""Sensor drivers, one a file."""
