"""One worker process: reads tasks as lines of JSON, writes a record for each.

`python -m lawful.atlas.worker [BYTES]` limits the memory that it may write to.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import warnings


def main() -> None:
    """Answers every line on stdin with one on stdout until stdin ends.  What models print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if len(sys.argv) > 1:
        # Anonymous memory only: the address space of a torch process is many times what it uses.
        resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
    import torch

    from .measure import Task, measure

    torch.set_num_threads(1)  # there are as many workers as there are cores for them
    warnings.simplefilter("ignore")  # of models that are not ours
    logging.disable(logging.WARNING)
    for line in sys.stdin:
        record = measure(Task(**json.loads(line)))
        print(json.dumps(record.to_data()), file=answers, flush=True)


if __name__ == "__main__":
    main()
