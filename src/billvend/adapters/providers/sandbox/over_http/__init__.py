"""The sandbox over HTTP: the desk behind two counters, each of which speaks as a real provider does.

    server           starts and stops it               http_sandbox      what both dialects have in common
    vtpass_dialect   VTpass's calls                    vtpass_responses  what VTpass writes
    buypower_dialect BuyPower's calls                  buypower_responses  what BuyPower writes
    control          the book, faults, take-backs      webhook_sender    tells of sales, truly or not

What a dialect does follows the providers' public documentation and public clients of theirs. All values are made up.
"""
