"""What the tests stand on: real Redis servers, a Poe that does what it is told, running proxies."""
