"""Several instances behind one port on this machine, as docker-compose.yml runs them, without Docker.

``make cluster``, or ``python -m cluster``; the tests use ``running.running_cluster``. The parts:

- ``running``    puts the parts together, and ends them in order
- ``instance``   one ``python -m proxy serve``, started again whenever it ends
- ``front``      nginx, with the configuration that compose uses
- ``backing``    what the instances stand on: a Redis, and a Poe when there are no keys for the real one
- ``processes``  starts, watches and ends a process
- ``welcome``    what to try, as text
"""
