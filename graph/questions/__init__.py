"""The questions that users ask of a network: one file per question, named like the function in `lawful`.

Answers: `derive`, `verify` and `check`, `count`, `certificate`, `parameter_count`, `search_laws`, `flows`, `lora`.
Imports: everything below; nothing in `graph` imports a question.
Read first: `derive`, then `check` (which decides what is called complete).
"""
