"""Whether anything grows: thousands of streams that stay open, and a mixed load for half an hour, on one worker.

``make soak``, or ``python -m bench.soak --minutes 3 --streams 500``. The parts:

- ``stage``     Redis, the upstream and the proxy, started for one phase and ended after it
- ``asking``    one client's connection: asks, or leaves in the middle
- ``mix``       which requests the load is made of, and what each must come to
- ``streams``   the first phase: open streams, held and closed
- ``steady``    the second phase: the load, and a sample of the process and of Redis every so often
- ``sampling``  what is looked at
- ``growth``    how much each figure grew, and how much it may
- ``report``    the tables and the JSON file
"""
