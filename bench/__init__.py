"""What a request and a chunk cost beside other ways to do the same, in one interleaved run.

``make bench``, or ``python -m bench --quick``. The parts:

- ``shapes``      bot names that say what the upstream answers
- ``wire``        those answers as bytes
- ``upstream``    plays Poe, in its own process
- ``peers``       what is compared: ours, the first program, relays, LiteLLM (``make bench-peers``), nginx
- ``load``        asks and checks that every answer is whole, in the process that prints the tables
- ``meter``       CPU time and memory by process
- ``measure``     one sample of one figure
- ``streams``     the same of streams that stay open
- ``themes``      which figures are measured together
- ``plan``        how often, and in which order
- ``redis_stats`` what our Redis says of its own work
- ``results``     samples, medians, percentiles
- ``tables``      figures and ratios
- ``bottleneck``  who limited what was measured
- ``report``      prints all that and writes the JSON file
"""
