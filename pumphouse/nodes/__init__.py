"""Bare metal: BMCs, switches and Fuel. One small interface each (:mod:`pumphouse.nodes.api`), drivers behind it."""
