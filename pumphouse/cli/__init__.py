"""The command ``pumphouse``: a thin shell over the library, one command per verb."""

from pumphouse.cli.main import main

__all__ = ["main"]
