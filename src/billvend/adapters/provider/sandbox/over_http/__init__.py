"""The sandbox over HTTP: the desk behind two counters, each of which speaks as a real provider does.

    server           starts and stops it               counter           what both dialects have in common
    vtpass_dialect   VTpass's calls                    vtpass_answers    what VTpass writes
    buypower_dialect BuyPower's calls                  buypower_answers  what BuyPower writes
    control          the book, faults, take-backs      hooks             tells of sales, truly or not

What a dialect does follows the providers' public documentation and public clients of theirs. All values are made up.
"""
