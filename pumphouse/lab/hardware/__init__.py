"""The simulated site's hardware: machines, their BMCs, the switch between them, and a Fuel master."""
