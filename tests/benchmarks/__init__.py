"""What is measured: how fast images are copied, and in how much memory. `make bench` prints the ratios."""
