"""Planning beyond one machine: a model of many manager nodes, calibrated from stored results.

What it says is a model's answer and no measurement; every output says so.
"""
