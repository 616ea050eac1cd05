"""The ledger: watches the laws of a model in somebody else's training loop and accounts for every change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from lawful.theory.arguments import near_or_all, plural, shown
from lawful.theory.extras import needed
from lawful.theory.laws.law import Law
from lawful.theory.laws.pages import Printed
from lawful.theory.typed import typed_methods

from .account import Account
from .equilibrium import effective_rates
from .figure import plot
from .findings import Finding
from .health import judge
from .report import Row, explain, record, rows, table
from .watcher import Watcher

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from rich.table import Table


@typed_methods(skip=("state", "law", "path"))
class Ledger(Printed, Watcher):
    """Accounts for what every step of an optimizer does to every law of a model.

    Attach it before the loop; it hooks into `optimizer.step`, changes nothing, and needs no other line.

    Args:
        model: the model, wrapped or not (`torch.compile`, DDP, PEFT).
        optimizer: its optimizer; several if they share the parameters, and step together or take turns.
        laws: the laws to watch.  Derived if not given: at once with `args` or `kwargs`, else from the inputs of the
            first forward pass.
        loss: the loss of that derivation (see `lw.derive`).  `"mse"` gives the laws that hold under every loss.
        args: example inputs for the derivation.
        kwargs: example keyword inputs.
        every: watch every k-th step.  If not given: every step of a model with up to a million watched numbers; of a
            larger one the laws take turns, so many at a step that watching takes at most 5 % of the time, which
            `health()` says.
        sample: watch only so many laws, drawn with `seed`.
        seed: of the draw.
        like: the optimizer of torch that an optimizer of your own is meant to be (`torch.optim.Adam`), with the same
            names in its groups and state; its steps are then held to these equations instead of being measured.

    Raises:
        ValueError: if a law reads a parameter that the model does not have or has in another shape, there is no law to
            watch, the loss is unknown, an optimizer holds no parameter of the model, or they move nothing that is
            watched (where laws are derived from the first forward pass, at the first step).  A derivation from the
            first forward pass that finds no law, or is refused, raises nothing: what needs no law is watched, and
            `health()` says why.
        TypeError: for what is no optimizer.
    """

    def account(self, law: str | int | Law | Row) -> dict[str, Tensor]:
        """Every scalar of a law: `change`, one tensor for every cause, and `remainder`, in the shape of the law."""
        one = self._account(law)
        shape = one.form.law.value(self._plain(self._parameters)).shape
        parts = {"change": one.change, **one.ordered(), "remainder": one.remainder}
        return {name: x.reshape(shape) for name, x in parts.items()}

    def findings(self) -> tuple[Finding, ...]:
        """What is not as it should be, with the parameters that it sits in."""
        return judge(self).findings

    def rows(self) -> list[Row]:
        """A row for every law."""
        return rows(self)

    def table(self) -> Table:
        """All rows as a table of the package rich; `print(ledger)` shows the same as text."""
        return table(self.rows(), plural(self.steps, "step"))

    def explain(self, law: str | int | Law | Row) -> str:
        """What moved a law, in plain words.

        Args:
            law: the law, its name, its row, or its number from 0.
        """
        return explain(self, self._account(law))

    def health(self) -> str:
        """The verdict on the whole run, in plain words."""
        return judge(self).text

    @property
    def verdict(self) -> str:
        """The worst: `ok`, `rounding`, `epsilon`, `not tested`, `not watched`, `unexplained`, in this order.

        A run without a law is `undecided`.
        `ok in part` (and so on) where a law is not tested, and where there are trainable parameters that no watched law
        reads; `health()` names them.
        """
        return judge(self).worst

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame: `law`, `change`, a column per cause, `remainder`, `relative`, `verdict`.

        Raises:
            ImportError: without pandas; says how to install it.
        """
        with needed("a data frame", "pandas", "frame"):
            import pandas

        return pandas.DataFrame([row.as_dict() for row in self.rows()])

    def to_json(self) -> str:
        """The account as JSON: what `lawful train` writes, and `lawful ledger FILE` shows again."""
        return json.dumps(record(self), indent=1, ensure_ascii=False, allow_nan=False)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Every law over the steps, and what moved it; written to `path` if that is given.

        Raises:
            ValueError: if no step was watched, and for a path that no figure can go to.
            ImportError: without matplotlib; says how to install it.
        """
        return plot(self, path)

    def effective_learning_rates(self) -> dict[str, Tensor]:
        """For weights whose size does not matter to the loss: the learning rate over their squared norm, per scalar.

        Such a weight (before a normalisation) moves on a sphere; by this rate its direction turns.
        """
        return effective_rates(self)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def gist(self) -> str:
        """The verdict after so many steps."""
        return f"{plural(self.steps, 'step')}, {plural(len(self.laws), 'law')}, {self.verdict}"

    def __str__(self) -> str:
        from rich.console import Console

        if self.lawless:
            return self.health()
        console = Console(width=160)
        with console.capture() as text:
            console.print(self.table())
        return text.get() + self.health()

    def _account(self, law: str | int | Law | Row) -> Account:
        if isinstance(law, int) and not isinstance(law, bool) and -len(self.laws) <= law < len(self.laws):
            law = self.laws[law]
        if not isinstance(law, (str, Law, Row)):
            raise TypeError(
                f"{shown(law)} is no law; pass one of the ledger's laws, its name, its row, or its number from 0"
            )
        name = law.law if isinstance(law, Row) else law if isinstance(law, str) else law.name
        if self.lawless:
            raise KeyError(f"no law named {name!r} is watched: {self.lawless}")
        if not self.accounts:
            raise KeyError(
                f"no law named {name!r} is watched yet: this ledger derives its laws at the first forward pass in "
                "training mode; run one, or pass laws= or args= to the ledger"
            )
        if name not in self.accounts:
            raise KeyError(f"no law named {name!r} is watched; {near_or_all(name, self.accounts)}")
        return self.accounts[name]
