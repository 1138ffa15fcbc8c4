"""Why a scenario ends early."""


class Failure(Exception):
    """The client did something else than the scenario demands."""


class AdapterError(Exception):
    """The adapter ended, did not reply in time, or did not reply as the README says."""
