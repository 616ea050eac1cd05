"""Search: sentences to terms and facets (`analysis`), entries to terms (`documents`), their index and their order.

Answers: which entries a question is about.
Imports: nothing but the entries; neither torch nor sympy.
Read first: `analysis`, then `ranking`.
"""
