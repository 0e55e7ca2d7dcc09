"""The sandbox over HTTP: one simulator behind two dialects, each of which answers as a real provider does.

    server             starts and stops it             http_sandbox        what both dialects share
    vtpass_dialect     VTpass's calls                  vtpass_responses    VTpass's answers
    buypower_dialect   BuyPower's calls                buypower_responses  BuyPower's answers
    control            sales, faults, reversals        webhook_sender      VTpass's webhooks, true or forged
    biller_codes       the providers' company names    formats             their amounts and times

The dialects follow the providers' public documentation and public clients of it. All values are invented.
"""
