"""What handlers of operations are made of: sums, maps, norms, attention, pieces, parameters.

Several operations need each of them, so they stand below all handlers: none imports one.
"""
