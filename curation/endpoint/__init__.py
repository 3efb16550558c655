"""OpenAI-compatible endpoints: asking them within a budget, each request once. The only HTTP to language models.

`service` has what is asked and answered, `ledger` what was asked and paid, `budget` what may be, `limit` how many
requests may be under way, `reply` what a server sends, and `client` the asking itself.
"""
