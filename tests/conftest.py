"""How the tests run: the hypothesis profile that HYPOTHESIS_PROFILE names, and one torch thread per worker."""

import os

import hypothesis
import torch

for name, examples in {"quick": 30, "ci": 300, "nightly": 5000}.items():
    hypothesis.settings.register_profile(
        name,
        max_examples=examples,
        # Time limits would measure the machine, which is shared with other workers, and not the code.
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        # A failure must be reproducible from the log alone, on any machine.
        database=None,
        print_blob=True,
        # The same examples for the same code, so that a red run is the change's fault; the nightly run explores.
        derandomize=name != "nightly",
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

torch.set_num_threads(1)
