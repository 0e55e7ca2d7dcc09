"""A provider to practise on: some meters misbehave on purpose, and its store shows what it really sold.

    meters        how each meter behaves               sale            what a sale consists of: token, units, receipt
    faults        other behaviours, by name            fault_plans     the planned faults, as the file keeps them
    simulator     takes sends and requeries, and sells sales_store, sale_record, sqlite_file   what was sold
    provider      the simulator as a provider, in process              customer        whose meter it is
    over_http     the simulator as two real providers, over HTTP

The simulator decides the answer and how it is delivered; the transport in front of it delivers it.
"""
