"""What a request and a chunk cost in CPU time, beside other ways to do the same, in one interleaved run.

``make bench``, or ``python -m bench --quick``. The parts:

- ``shapes``    bot names that say what the upstream answers
- ``upstream``  plays Poe, in its own process
- ``peers``     the relays that are compared: ours, the first program, a bare relay, nginx
- ``load``      asks and checks that every answer is whole, in the process that prints the table
- ``meter``     CPU time by process
- ``measure``   one sample of one figure
- ``plan``      which samples, in which order
- ``report``    medians, ratios, the table and the JSON file
"""
