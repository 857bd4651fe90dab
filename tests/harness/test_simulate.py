"""The simulator against queueing theory, its breaker and balancers against what they are for, and its speed."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from crossfade.harness.simulate import tables
from crossfade.harness.simulate.cluster import Beside, Breaker, Cluster, Stalls, lay_out, run, speed
from crossfade.harness.simulate.events import loop
from crossfade.harness.simulate.tables import Floats

MS = 1e-3
EXPONENTIAL = tuple((-np.log(1 - (np.arange(4096) + 0.5) / 4096) * MS).tolist())
"""Quantiles of the exponential distribution stand for it; one millisecond on average."""


def queue(**changes: Any) -> Cluster:
    """One node whose only work is done before the call, which takes no time: a queue and nothing else."""
    told: dict[str, Any] = {"nodes": 1, "rate_per_s": 600.0, "service_s": (MS,), "forward_share": 1.0, **changes}
    return Cluster(**told)


def latencies(cluster: Cluster, requests: int = 400_000, seed: int = 5) -> Floats:
    return run(cluster, requests, seed).latency_s[requests // 10 :]


def erlang(servers: int, load: float) -> float:
    """The share of requests that wait (Erlang C); ``load`` is that of each server."""
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_core_with_constant_service_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    found = latencies(queue(rate_per_s=load / MS), 1_000_000)
    assert found.mean() == pytest.approx(MS * (1 + load / (2 * (1 - load))), rel=0.02)


def test_one_core_with_exponential_service_has_the_exponential_latency_of_theory() -> None:
    found = latencies(queue(rate_per_s=700.0, service_s=EXPONENTIAL), 2_000_000)
    assert np.percentile(found, 99) == pytest.approx(math.log(100) / (1000 - 700), rel=0.05)


def test_several_cores_wait_as_erlang_says() -> None:
    found = latencies(queue(cores=4, rate_per_s=0.8 * 4000, service_s=EXPONENTIAL), 2_000_000)
    assert found.mean() == pytest.approx(MS * (1 + erlang(4, 0.8) / (4 * 0.2)), rel=0.03)


@pytest.mark.parametrize("bound", ["slots", "pool"])
def test_an_instance_with_slots_and_a_pool_with_connections_wait_as_erlang_says(bound: str) -> None:
    found = latencies(queue(service_s=(0.0,), wait_s=EXPONENTIAL, rate_per_s=0.75 * 8000, **{bound: 8}), 2_000_000)
    assert found.mean() == pytest.approx(MS * (1 + erlang(8, 0.75) / (8 * 0.25)), rel=0.03)


def test_nodes_that_share_a_core_wait_for_it_as_one_queue_does() -> None:
    # Nothing is lost or gained by turns: work is conserved, and the mean is that of one queue with all arrivals.
    one, four = (latencies(queue(nodes=n, shared=n, rate_per_s=700.0), 1_000_000) for n in (1, 4))
    assert four.mean() == pytest.approx(one.mean(), rel=0.03)


def test_a_slice_of_no_time_shares_a_core_more_fairly_than_one_that_never_ends() -> None:
    # A node in overload keeps a core that it shares for as long as its slice lasts; then the others have their turn.
    def spread(slice_s: float) -> float:
        bursts = queue(nodes=2, shared=2, rate_per_s=980.0, slice_s=slice_s)
        return float(np.percentile(latencies(bursts, 600_000), 99.9))

    assert spread(0.0) < spread(10.0)


def test_constant_arrivals_below_capacity_never_wait() -> None:
    assert latencies(queue(arrivals="constant", rate_per_s=900.0)).max() == pytest.approx(MS)


def test_waking_costs_whoever_sleeps_and_nobody_who_is_busy() -> None:
    rare = latencies(queue(rate_per_s=1.0, wake_s=MS))
    assert np.median(rare) == pytest.approx(2 * MS)
    # Two milliseconds each would be twice what the core can do; awake, one is enough.
    assert np.median(latencies(queue(rate_per_s=950.0, wake_s=MS))) < 0.2


def test_a_node_pays_for_what_others_left_in_the_caches_and_never_after_itself() -> None:
    """Requests are so rare that each finds its core idle: in turn over two nodes, each comes behind the other's."""
    rare = queue(rate_per_s=10.0, arrivals="constant", front="round_robin", switch_s=MS / 4)
    alone, both = run(rare, 1000, 1), run(msgspec.structs.replace(rare, nodes=2, shared=2), 1000, 1)
    assert alone.spent_s == pytest.approx(1000 * MS, rel=0.001)
    assert both.spent_s == pytest.approx(1000 * 1.25 * MS)
    assert both.latency_s.max() == pytest.approx(1.25 * MS)


def test_a_request_pays_for_both_of_its_visits_and_for_client_and_fleet() -> None:
    beside = Beside(send_s=1 * MS, accept_s=2 * MS, answer_s=3 * MS, receive_s=4 * MS)
    found = latencies(
        queue(arrivals="constant", rate_per_s=1.0, forward_share=0.5, wait_s=(5 * MS,), beside=beside), 1000
    )
    assert np.allclose(found, 16 * MS)


def test_a_stall_delays_whoever_meets_it_and_the_line_behind() -> None:
    # A tenth of all time stands still, 10 ms at a time; who comes in between waits for what is left of it.
    stalled = queue(rate_per_s=10.0, service_s=(1e-6,), stalls=Stalls(per_s=10.0, for_s=(10 * MS,)))
    found = latencies(stalled, 1_000_000)
    late = found > 2e-6
    assert late.mean() == pytest.approx(1 - math.exp(-0.1), rel=0.1)
    assert 4.5 * MS < found[late].mean() < 6.5 * MS
    busy = latencies(changed(stalled, rate_per_s=700.0, service_s=(MS,)))
    assert np.percentile(busy, 99) > np.percentile(latencies(queue(rate_per_s=700.0)), 99) + 5 * MS


def changed(cluster: Cluster, **changes: Any) -> Cluster:
    import msgspec

    return msgspec.structs.replace(cluster, **changes)


def test_power_of_two_choices_keeps_the_longest_queue_shorter_than_chance_does() -> None:
    def peak(balancer: Any) -> int:
        served = queue(
            service_s=(0.0,), wait_s=EXPONENTIAL, instances=16, slots=1, rate_per_s=0.9 * 16_000, balancer=balancer
        )
        return run(served, 400_000, 3).peak

    assert peak("least_pending") <= peak("p2c") < peak("round_robin") < peak("random")


def test_a_front_in_turn_gives_every_node_the_same_and_a_front_by_connections_waits_for_an_idle_one() -> None:
    smooth = latencies(queue(nodes=4, rate_per_s=3200.0, front="round_robin"))
    assert smooth.mean() < latencies(queue(nodes=4, rate_per_s=3200.0)).mean()
    # One connection is one request at a time: a queue in front of an idle node.
    one = latencies(queue(rate_per_s=600.0, front="connections", connections=1, cores=8))
    assert one.mean() == pytest.approx(MS * (1 + 0.6 / (2 * 0.4)), rel=0.03)


def broken(**changes: Any) -> Cluster:
    breaker = Breaker(window=20, min_calls=10, open_s=0.1, probes=3)
    return queue(service_s=(0.0,), wait_s=(MS,), rate_per_s=1000.0, failure=(1.0,), breaker=breaker, **changes)


def test_a_breaker_opens_on_failures_refuses_and_probes_again() -> None:
    found = run(broken(), 20_000, 1)
    failed, refused = ((found.outcome == kind).mean() for kind in (tables.FAILED, tables.REFUSED))
    # Ten calls open it; then three probes in every 100 ms, or fewer: the first one's failure ends them.
    assert refused > 0.95
    assert 10 <= (found.outcome == tables.FAILED).sum() < 10 + 20 * 10 * 4
    assert failed + refused == 1.0
    assert found.opened == pytest.approx(20 / 0.1, rel=0.1)


def test_a_breaker_that_never_opens_refuses_nobody_and_one_instance_of_two_takes_over() -> None:
    assert not (run(broken(balancer="p2c"), 1, 1).outcome == tables.REFUSED).any()
    healthy = changed(broken(), failure=(0.0,))
    assert (run(healthy, 20_000, 1).outcome == tables.ANSWERED).all()
    half = run(changed(broken(), instances=2, failure=(1.0, 0.0), balancer="round_robin"), 20_000, 1)
    assert (half.outcome == tables.REFUSED).sum() == 0
    assert (half.outcome == tables.ANSWERED).mean() > 0.95


def test_a_healed_instance_is_closed_again_after_its_probes() -> None:
    # A third of calls fail, which is below the limit on average: it opens by chance. Three probes in a row succeed in
    # two cases of seven, and then it closes again.
    found = run(changed(broken(), failure=(0.34,)), 100_000, 1)
    assert found.opened > 5
    assert (found.outcome[-10_000:] == tables.ANSWERED).mean() > 0.05
    assert (found.outcome[-10_000:] == tables.REFUSED).mean() > 0.5


def everything(nodes: int = 4) -> Cluster:
    return Cluster(
        nodes=nodes,
        shared=2,
        rate_per_s=20_000.0 * nodes / 2,
        service_s=(20e-6, 30e-6),
        wait_s=(1e-4, 2e-4, 3e-4),
        wake_s=5e-6,
        instances=8,
        slots=16,
        pool=8,
        failure=(0.05,),
        breaker=Breaker(),
        front="connections",
        connections=64 * nodes,
        stalls=Stalls(per_s=1.0, for_s=(MS,)),
    )


def test_the_same_seed_is_the_same_future_and_another_is_another() -> None:
    one, same, other = (run(everything(), 20_000, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.latency_s, same.latency_s)
    assert np.array_equal(one.outcome, same.outcome)
    assert not np.array_equal(one.latency_s, other.latency_s)


def test_every_request_ends_and_every_lease_slot_and_connection_is_given_back() -> None:
    cluster = everything()
    t, latency_s = lay_out(cluster, 50_000), np.full(50_000, np.nan)
    loop(t, 1, latency_s)
    assert np.isfinite(latency_s).all()
    assert t.idle[tables.LENGTH] == cluster.connections
    assert not t.links[:, [tables.LENGTH, tables.PENDING, tables.LEASED]].any()
    assert not t.instances[:, [tables.LENGTH, tables.IN_SERVICE]].any()
    assert not t.processes[:, [tables.LENGTH, tables.RUNNING, tables.QUEUED]].any()
    assert (t.groups[:, tables.FREE_LENGTH] == t.groups[:, tables.WIDTH]).all()


@pytest.mark.slow
def test_five_million_events_a_second() -> None:
    found = speed()
    print(f"{found / 1e6:.1f} million events per second")  # noqa: T201 - the figure
    assert found > 5e6
