"""The launcher's errors.

RealError
 +- Unavailable     this machine cannot run the clouds
 +- rest.ApiError   a service refused a request
"""

from __future__ import annotations

from typing import ClassVar


class RealError(Exception):
    """Something went wrong; the message says with what, and where to look."""

    exit_code: ClassVar[int] = 1


class Unavailable(RealError):
    """This machine lacks something that the package registries cannot bring, such as Python 2.7.

    Tests turn it into a skip with the message as the reason; the command line exits with 77 for it.
    """

    exit_code: ClassVar[int] = 77
