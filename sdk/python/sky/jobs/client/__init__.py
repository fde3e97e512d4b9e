"""The client side of managed jobs: ``sdk``, and ``sdk_async`` for asyncio."""
