"""The sandbox over HTTP: one simulator behind two dialects, each of which answers as a real provider does.

    server             starts and stops it              http_sandbox      what both dialects share
    vtpass_dialect     VTpass's calls                   vtpass_answers    VTpass's answers and webhooks
    buypower_dialect   BuyPower's calls                 buypower_answers  BuyPower's answers
    control            sales, faults, float, reversals  webhook_sender    posts webhooks, true or forged
    formats            requests and answers in JSON

The dialects follow the providers' public documentation and public clients of it. All values are invented.
"""
