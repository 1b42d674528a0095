"""The event loop of the tests: uvloop, as it serves, but for one thing at its end."""

import warnings

import uvloop


class TestLoop(uvloop.Loop):
    """Warns of what was left open when it is closed, instead of waiting for it for ever.

    Where warnings are errors, uvloop 0.23 raises one for the first connection that is still open, does not close that
    connection, and then waits until it is.
    """

    __test__ = False

    def close(self) -> None:
        """Closes it. Raises ResourceWarning, where warnings are errors: something was left open."""
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always", ResourceWarning)
            super().close()
        for warning in left_open:
            warnings.warn(warning.message, stacklevel=2)
