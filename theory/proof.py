"""Proofs (placeholder while the core is brought up)."""
from dataclasses import dataclass
@dataclass
class Proof:
    theorem: str
def prove(law, solution, family, loss):
    return Proof("wire balance")
