"""The HTTP face: routes, streams, errors, process life. The only layer that knows Sanic."""
