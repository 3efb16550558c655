"""OpenAI-compatible endpoints: asking them within a budget, each request once. The only HTTP to language models.

`service` has what is asked and answered, `ledger` what was asked and paid, `budget` what may be, `servers` which server
gets a request, `limit` how many it may have under way, `reply` what it sends, `syncing` how many wait for the disk
together, and `client` the asking itself.
"""
