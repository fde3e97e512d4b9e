"""Services: ``sky.serve.up`` and what belongs to it; the same for asyncio is in ``sky.serve.client.sdk_async``.

A server that has none raises :class:`sky.exceptions.NotSupportedError`. Arguments mean what they mean in ``sky``.
"""

from .client import sdk
from .client.sdk import *  # noqa: F403  its names are listed there

__all__: list[str] = []
__all__ += sdk.__all__
