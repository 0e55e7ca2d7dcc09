"""A provider to practise on, whose meters misbehave on purpose and whose book says what it really sold.

    meters    which meter behaves how                    sale  what one sale consists of: token, units, receipt
    desk      takes sends and requeries, and sells       book  what it did under each reference: `entry`, in a `file`
    provider  the desk as one of our providers, in process

The desk says what it states and how that should travel, and leaves the travelling to whoever stands in front of it.
"""
