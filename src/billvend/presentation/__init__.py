"""What the CLI, the API and webhooks show.

models.py, transaction_models.py, operator_models.py   as JSON
text.py                         in plain words
notifications.py                the content of notifications
errors.py                       the HTTP status and the exit status of each error
"""
