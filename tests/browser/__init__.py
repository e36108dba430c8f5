"""Real JupyterLab, real kernels and a real browser, against a fast lab. What is slow happens once, in fixtures."""
