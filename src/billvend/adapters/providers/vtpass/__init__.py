"""VTpass: an aggregator that sells for all twelve electricity companies.

    codes     what its codes and words mean, and its names of the companies: data
    response_parser  what an answer of its says: about a transaction, a meter, our balance, a hook
    delivery  what a delivery consists of: token, units, cost, receipt
    provider  the account as one of our providers, over HTTP

From VTpass's public documentation and public clients of it; nothing here was tried against VTpass itself.
"""
