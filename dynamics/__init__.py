"""What optimizers do to laws: exact identities of their steps, and training that records every law."""
