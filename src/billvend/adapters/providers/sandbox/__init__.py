"""A provider to practise on. Some meters misbehave on purpose, and its sales store shows what it really sold.

    simulator     decides the answers, and sells       faults   every behaviour by name, and which meter has it
    provider      the adapter, in process              sale     a reference: its record, token, units and cost
    over_http     the same over HTTP, as two providers sales_store   what was sold and planned, in a file

The simulator decides the answer and how it is delivered. The adapter or the HTTP server delivers it.
"""
