"""VTpass: an aggregator that sells for all twelve electricity companies.

    provider         the calls over HTTP
    response_parser  answers about a transaction, a meter or our balance, and webhooks
    delivery         token, units, cost and receipt of a delivery
    codes            what its codes and statuses mean, and its names for the companies: data

Sources: VTpass's public documentation and public clients of it. Nothing was tested against VTpass itself.
"""
