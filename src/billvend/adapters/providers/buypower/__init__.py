"""BuyPower.ng, version 2 of its API.

    provider         the calls over HTTP
    response_parser  answers about a sale, a meter or our balance: tokens, receipts, when to ask again
    codes            BuyPower's names, and what its answers mean: tables, and one pure function for each

No single number of BuyPower has one meaning. 202 means "in progress" as an HTTP status, "failed" as a code of a
requery, and "your float is empty" as a code of a vend.
"""
