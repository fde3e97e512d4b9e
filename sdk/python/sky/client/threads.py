"""Blocking calls for asyncio: each in a thread of its own, so that many can wait at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Callable, Optional, TypeVar

from .scope import Scope

T = TypeVar("T")


async def run(call: Callable[[], T]) -> T:
    """Runs a call in a thread; cancelling cuts its connections and ends it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    scope = Scope()

    def settle(result: Optional[T], error: Optional[BaseException]) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: Optional[T] = None
        failure: Optional[BaseException] = None
        with scope:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  whatever it is belongs to whoever awaits
                failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            pass  # The loop was closed: nobody waits any more.

    threading.Thread(target=work, name="sky-call", daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        scope.end()
        raise
