"""Scripts of the tests' own."""

import hashlib

from proxy.store.script import Script


def made_script(source: str) -> Script:
    """A script that no package has."""
    script = Script.__new__(Script)
    script.name, script.source = "made", source
    script.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return script
