"""The APIs that clients speak, a package each: requests as they send them, answers, streams and errors. Pure."""
