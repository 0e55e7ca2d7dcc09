"""BuyPower.ng, version 2 of its API.

    codes     what BuyPower calls things, and what its answers mean: tables, and one pure function over them
    response_parser  an answer that arrived, as one of ours: tokens, receipts, meters, advice on when to ask again
    provider  the calls themselves

No statement of BuyPower stands on one number: 202 means "in progress" as an HTTP status, "failed" as a code of a
requery, and "your float is empty" as a code of a vend.
"""
