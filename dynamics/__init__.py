"""What optimizers do to laws: identities, ledger, predictions, training callbacks."""
