"""The contract between everyone, and the broker that carries it."""

__version__ = "0.1.0"
