"""A server's cutover, and what comes after it."""

from __future__ import annotations
