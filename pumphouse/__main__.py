"""``python -m pumphouse``: the same as the command ``pumphouse``."""

from pumphouse.cli import main

main(prog_name="pumphouse")
