"""The policy cores compiled with numba: the same decisions as ``crossfade.impls.cores``, over arrays.

What it is for: *batches*. State is a struct of arrays (one int64 row per field, one column per instance or key), so one
call scores or steps as many instances as there are columns, without a Python object between them.

What it is not for: *single steps*. A step from Python into a kernel costs a call through numba's dispatcher, and that
is more than the whole decision costs in plain Python, several times over for most policies; only P2C gains. Variant
``numba`` takes single steps, because that is what a shell asks for; scenario ``policy-ops`` shows what it costs, and
``bench_ops`` what loops and batches inside numba save.

Rule: every kernel has an explicit signature and is compiled, or read from numba's cache, when its module is imported.
Nothing is ever compiled while a manager serves.
"""
