"""A provider to practise on. Some meters misbehave on purpose, and its sales store shows what it really sold.

    simulator     decides the answers, and sells       meters        how each meter behaves
    provider      the adapter, in process              faults        other behaviours, by name
    over_http     the same over HTTP, as two providers fault_plans   the planned faults in the file
    sales_store   what was sold, in a file             sale          token, units, cost and receipt
    sqlite_file   the SQL of that file                 sale_record   one reference in that file
                                                       customer      the owner of a meter

The simulator decides the answer and how it is delivered. The adapter or the HTTP server delivers it.
"""
