"""``crossfade crosscheck``: the ruler against things that are known without it.

An independent load generator on the same endpoint (:mod:`generators`, :mod:`wrk`), a server that stalls for a known
time (:mod:`stalls`), a manager whose memory per connection is known to the byte (:mod:`ladder`, :mod:`arena`), and the
largest results file that a run can leave (:mod:`madeup`). :mod:`record` is what is stored, :mod:`judge` what it says.
The rule: a target is never met by subtraction or correction of our own figures, only by measuring.
"""
