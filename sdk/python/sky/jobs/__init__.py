"""Managed jobs: ``sky.jobs.launch`` and what belongs to it; the same for asyncio is in ``sky.jobs.client.sdk_async``.

A server that has none raises :class:`sky.exceptions.NotSupportedError`. Arguments mean what they mean in ``sky``.
"""

from ..states import ManagedJobStatus
from .client import sdk
from .client.sdk import *  # noqa: F403  its names are listed there

__all__ = ["ManagedJobStatus"]
__all__ += sdk.__all__
