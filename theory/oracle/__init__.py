"""What sees no rule: gradients of the user's own module, the check of a law, and counting by brute force.

Answers: whether a law holds on a module, and how many independent laws there are at all.
Imports: `laws`, and of `gauge` nothing but what `laws` needs; a test keeps the rules out.
Read first: `counting` (the Lie algebra in floats), `verification` (one law), `modules` and `lending` (running a module
and giving it back), `precise` (120 digits), `exact` (modulo primes, and the checker of certificates).
"""
