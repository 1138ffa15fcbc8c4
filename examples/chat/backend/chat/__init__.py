"""A chat whose messages reach browsers through the gateway."""
