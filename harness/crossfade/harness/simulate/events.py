"""The events: requests arrive at random, wait for a core of their node, are served, and leave. Compiled with numba.

Nodes share nothing on the request path, so that each is a queue with so many cores and a stream of its own (a Poisson
stream split at random stays one). A request is two events, its arrival and its departure. With service in order of
arrival, the core that is free first takes the next: the state of a node is the moments its cores are free.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]


@numba.njit(cache=True)
def node(  # noqa: PLR0917 - compiled functions take no keywords
    seed: int, requests: int, cores: int, arrivals_per_s: float, service_s: Floats, wait_s: Floats
) -> Floats:
    """Latencies in seconds of ``requests`` at one node.

    ``service_s`` and ``wait_s`` are equally likely values: processor time of the node, and what passes outside it
    (the upstream and the network), which holds no core.
    """
    np.random.seed(seed)
    free = np.zeros(cores)
    latencies = np.empty(requests)
    now = 0.0
    for number in range(requests):
        now += -np.log(1.0 - np.random.random()) / arrivals_per_s
        first = 0
        for core in range(1, cores):
            if free[core] < free[first]:
                first = core
        begin = max(now, free[first])
        end = begin + service_s[np.random.randint(0, service_s.size)]
        free[first] = end
        latencies[number] = end - now + wait_s[np.random.randint(0, wait_s.size)]
    return latencies
