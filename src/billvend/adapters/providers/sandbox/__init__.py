"""A provider to practise on, whose meters misbehave on purpose and whose book says what it really sold.

    meters    which meter behaves how                    sale   what one sale consists of: token, units, receipt
    faults    other behaviours, by name, and plans       fault_plans  the plans as they are kept in the file
    simulator takes sends and requeries, and sells       sales_store, sale_record, sqlite_file   what it did under each reference
    provider  the desk as one of our providers, in process      customer  whose meter it is
    over_http the desk as two real providers, over HTTP

The desk says what it states and how that should travel, and leaves the travelling to whoever stands in front of it.
"""
