"""How fast billvend is on this machine, beside the limits of the database that it runs on.

    figures.py      a figure, its yardstick, and medians of several rounds
    places.py       empty databases of our own to measure in: the books are never touched
    yardsticks.py   what the database does without billvend: pgbench
    loads.py        the library: one by one, many callers at once, bulk, audit
    over_http.py    `billvend serve` and clients that pay bills
    round.py        one round of them all

Every figure stands beside a yardstick that was measured in the same round on the same server: it says what billvend makes
of a machine, not how fast the machine is.
"""
