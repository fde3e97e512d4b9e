"""The client side: how calls reach the server."""
