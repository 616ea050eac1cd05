"""The mathematics of conservation laws, in wings.

`gauge` (which gauges a diagram has) <- `laws` (what a law is and how it reads) <- `oracle` (what sees no rule) <-
`derive` (from gauges to laws) <- `flows`, `search`.  `losses`, `loss_table`, `verdict` and `threads` lie below all of
them.  No wing imports one to its right; `docs/architecture.md` has the whole picture.
"""
