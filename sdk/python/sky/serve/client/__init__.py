"""The client side of services: ``sdk``, and ``sdk_async`` for asyncio."""
