"""The runner of the conformance kit: it plays the server, the user, the clock and the random source."""
