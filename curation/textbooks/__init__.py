"""Textbooks that a language model writes: what to write, how it is asked, and what of the answers is taken.

`curriculum` says what there is to write about and for whom, `kinds` in what forms, `vocabulary` with which words.
`planning` makes a plan of them: a table of requests. `writing` walks over a plan round by round and takes answers in
its order, `checking` says what is wrong with an answer, `asking` gets answers from a ledger or an endpoint, `batches`
carries them as files, and `diversity` measures what was written.
"""
