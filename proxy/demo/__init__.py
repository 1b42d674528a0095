"""A Poe to try things on: no account, no network. For the demo and the tests; the server never imports it."""
