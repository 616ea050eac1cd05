"""Mathematics: laws, wire algebras, theorems, proofs and counting; knows no block."""
