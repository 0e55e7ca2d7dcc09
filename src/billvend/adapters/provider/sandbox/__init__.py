"""A provider to practise on, whose meters misbehave on purpose and whose book says what it really sold.

    meters    which meter behaves how                    sale   what one sale consists of: token, units, receipt
    faults    other behaviours, by name, and plans       plans  the plans as they are kept in the file
    desk      takes sends and requeries, and sells       book   what it did under each reference: `entry`, in a `file`
    provider  the desk as one of our providers, in process      customer  whose meter it is
    over_http the desk as two real providers, over HTTP

The desk says what it states and how that should travel, and leaves the travelling to whoever stands in front of it.
"""
