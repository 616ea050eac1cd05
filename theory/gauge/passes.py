"""What a rule may ask and state: the four passes over a diagram, as the rules see them.

Every block speaks in each of them through its rule: *layouts* settle how wires are cut and which matrices they may
carry, *directions* what is unseen and what is never there, *balance* collects the equations between the matrices,
*shifts* those between the constants.  `Layouts`, `Directions`, `Balance` and `Shifts` are what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from .algebra import Algebra
from .linalg import Number
from .subspace import Subspace, Vector, VectorKey
from .unknowns import Cell, MatrixEquation, MatrixKey, Sector, Terms, Token


class Place(Protocol):
    """A block as the passes name it: where it stands, and the rule that it brings."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def rule(self) -> object:
        """Its rule, of which a pass knows nothing."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The wires that it reads."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """The wires that it writes."""


class LayoutPass(Protocol):
    """How wires are cut, and which matrices they may carry; every block restricts them until nothing changes."""

    @property
    def lax(self) -> bool:
        """Whether an epsilon under a root is read as 0."""

    def size(self, w: int) -> int:
        """Width of a wire."""

    def layout(self, w: int) -> Algebra:
        """What a wire may carry so far."""

    def readers(self, w: int) -> Sequence[tuple[Place, int]]:
        """The blocks that read a wire and the port they read it on."""

    def is_cut(self, w: int) -> bool:
        """Whether a wire is cut into parts of different kinds."""

    def frozen(self, name: str) -> bool:
        """Whether training leaves a parameter alone."""

    def meet(self, w: int, algebra: Algebra) -> None:
        """Restricts a wire."""

    def equal(self, a: int, b: int) -> None:
        """Two wires carry the same matrices."""

    def align(self, a: int, b: int) -> None:
        """Two wires are cut alike."""

    def told_apart_alike(self, a: int, b: int) -> None:
        """Tokens of two wires are cut alike."""

    def ones(self, w: int) -> None:
        """A wire may carry multiples of `11^T` only (and nothing where it is cut)."""

    def centred(self, w: int) -> None:
        """A wire may carry what commutes with removing the mean."""

    def flatten(self, x: int, y: int, before: int, after: int) -> None:
        """Every feature of `x` stands for `before x after` features of `y`."""

    def concat(self, whole: int, parts: Sequence[int]) -> None:
        """`whole` is the parts side by side."""

    def repeated(self, many: int, few: int, groups: int, copies: int, apart: bool = False) -> None:
        """Cuts a wire of `groups x copies x width` features and one of `groups x width` alike."""

    def cut_at(self, w: int, position: int) -> None:
        """Cuts a wire in two."""

    def cut_groups(self, x: int, y: int, groups: int) -> None:
        """Where a grouped map's input or output is cut into parts, both are cut into groups."""

    def frozen_matrix(self, x: int, y: int) -> None:
        """A generic matrix that never moves lies between two wires."""

    def cut_tokens(self, w: int, index: int, length: int = 1) -> None:
        """A run of tokens of a wire is read apart from the others."""

    def join_tokens(self, whole: int, parts: Sequence[int]) -> None:
        """The token axis of `whole` is those of the parts end to end."""


class DirectionPass(Protocol):
    """What is unseen by all readers of a wire, and what its writer never produces."""

    def layout(self, w: int) -> Algebra:
        """How a wire is cut."""

    def keys(self, w: int) -> list[VectorKey]:
        """The sectors of a wire's vectors."""

    def ones(self, w: int) -> Subspace:
        """The line of the all-ones vector."""

    def offsets(self, parts: Sequence[int]) -> list[tuple[int, int]]:
        """The parts of a concatenation with the index of their first box."""

    def positions(self, w: int) -> int:
        """Number of positions of a wire."""

    def writer(self, w: int) -> Place | None:
        """The block that writes a wire."""

    def moving(self, w: int) -> Subspace:
        """Data-dependent shifts of a wire that no reader sees."""

    def still(self, w: int) -> Subspace:
        """Constant shifts of a wire that no reader sees."""

    def shared(self, w: int) -> Subspace:
        """Shifts that all positions of an example share and that no reader sees."""

    def absent(self, w: int) -> Subspace:
        """Directions orthogonal to everything the wire carries."""

    def fixed(self, w: int) -> list[tuple[Vector, Number]]:
        """Vectors whose product with everything that the wire carries is one number, and that number (not 0)."""


class BalancePass(Protocol):
    """The equations between the matrices `S` of wires, sector by sector."""

    @property
    def lax(self) -> bool:
        """Whether an epsilon under a root is read as 0."""

    def layout(self, w: int) -> Algebra:
        """How a wire is cut."""

    def readers(self, w: int) -> Sequence[tuple[Place, int]]:
        """The blocks that read a wire and the port they read it on."""

    def is_cut(self, w: int) -> bool:
        """Whether a wire is cut into parts of different kinds."""

    def key(self, w: int, box: int, label: str) -> Sector | None:
        """The variable of a sector, None where the wire's algebra does not have it."""

    def keys(self, w: int) -> list[tuple[int, str]]:
        """All sectors of a wire."""

    def offsets(self, parts: Sequence[int]) -> list[tuple[int, int]]:
        """The parts of a concatenation with the index of their first box."""

    def require(self, terms: MatrixEquation) -> None:
        """Adds an equation between sectors, as `key` names them, and factors of one's own; None stands for zero."""

    def equal(
        self,
        a: int,
        b: int,
        power: Number = 1,
        rename: Callable[[int, str], tuple[int, str]] | None = None,
        partial: bool = False,
    ) -> None:
        """`S_b = power * S_a`, with the sectors of `a` renamed to those of `b`."""

    def total(self, wires: Iterable[tuple[int, int]], scalar: tuple[MatrixKey, Number] | None = None) -> None:
        """The signed sum of the matrices of several wires is zero, with a free multiple of the identity if given."""

    def copied(self, many: Sequence[tuple[int, int]], few: int, groups: int, copies: int) -> None:
        """The signed sum of some wires is, head by head, the matrix of a wire whose heads it repeats."""

    def acts_on_copies(self, many: int, few: int, copies: int) -> None:
        """A matrix maps a vector that all copies repeat to one that they repeat; `few` carries what it does to it."""

    def same_scalar(self, a: int, b: int) -> None:
        """The multiples of the identity on two wires are equal."""

    def same_on_ones(self, a: int, b: int) -> None:
        """What `S_a` and `S_b` do to the vector 1 of their first box is equal."""

    def equal_traceless(self, a: int, b: int, power: Number) -> None:
        """`S_b = power * S_a` but for one multiple of the identity, in wires that are cut alike."""

    def only_ones(self, w: int) -> None:
        """`S` is a multiple of `11^T`, in every block of the last axis."""

    def centre(self, x: int, y: int) -> None:
        """`S_x` and `S_y` agree on the complement of 1."""


class FieldPass(Protocol):
    """The constant fields of parameters that a block admits where no wire is shifted."""

    def move_matrix(
        self,
        site: Place,
        weight: str,
        unread: Subspace,
        known: Sequence[Vector],
        transposed: bool = False,
        groups: int = 1,
    ) -> None:
        """What a linear map's weight may do unseen."""

    def move_tensor(self, site: Place, name: str, wires: Sequence[int]) -> None:
        """What a tensor may do unseen, given the wires on its axes (inputs and outputs of the site)."""

    def move_gain(self, site: Place, name: str) -> None:
        """What a gain may do unseen."""

    def sum_to_zero(self, site: Place, names: Sequence[str], w: int, cells: Iterable[Cell]) -> None:
        """Vectors on a wire that are only seen through their sum: what one gains the others lose."""

    def free(self, site: Place, name: str, wires: Sequence[int], cells: Iterable[Cell]) -> None:
        """Constant fields of a parameter that no loss feels, whatever the rest does."""


class ShiftPass(Protocol):
    """The equations between the constant shifts `t` of wires, and the constant fields of parameters."""

    @property
    def directions(self) -> DirectionPass:
        """What readers do not see."""

    @property
    def fields(self) -> FieldPass:
        """What parameters may do by themselves."""

    def layout(self, w: int) -> Algebra:
        """How a wire is cut."""

    def tokens(self, w: int) -> list[Token]:
        """The token sectors of a wire: constant and mean-free part of every run of tokens."""

    def start(self, w: int, box: int) -> int:
        """Index of the first feature of a box of a wire."""

    def offsets(self, parts: Sequence[int]) -> list[tuple[int, int]]:
        """The parts of a concatenation with the index of their first box."""

    # What a writer puts on a wire

    def emit(self, w: int, terms: Terms) -> None:
        """The shift of an output, up to what its readers do not see."""

    def wire_terms(
        self,
        x: int,
        y: int,
        weights: str | int = "same",
        rename: Callable[[VectorKey], VectorKey] = lambda k: k,
        keys: Mapping[VectorKey, VectorKey] | None = None,
    ) -> Terms:
        """The shift that `y` inherits from `x`, whose tokens match; `weights` says which average of them it takes."""

    def joined_tokens(self, y: int, parts: Sequence[int]) -> Terms:
        """The shifts of the parts, each on its own run of tokens."""

    def parameter_terms(self, name: str, w: int) -> Terms:
        """A bias: the same shift for every token."""

    def copied_terms(self, name: str, own: int, w: int, copies: int) -> Terms:
        """A bias that all heads share, where `own` is a wire of one head."""

    def table_terms(self, name: str, w: int) -> Terms:
        """A table of positions: a shift per token."""

    def row_terms(self, site: Place, weight: str, w: int, sums: Sequence[Number]) -> Terms:
        """What a weight adds along vectors whose products with its input never change."""

    # What a reader asks of a wire

    def forbid(self, w: int, allow: Iterable[Vector] = (), every_token: bool = True) -> None:
        """No shift but multiples of the allowed vectors (for each token, or the same for all)."""

    def allow_ones(self, w: int) -> None:
        """Multiples of the all-ones vector, token by token."""

    def require_uniform(self, w: int) -> None:
        """The same shift for every token."""

    def match_tokens(self, x: int, y: int) -> None:
        """Tokens of `x` that `y` does not tell apart shift alike."""

    def require_equal(self, a: int, b: int) -> None:
        """Two wires shift alike."""

    def require_equal_sets(self, w: int, sets: Sequence[int], free: bool, sink: str | None) -> None:
        """Shifts of the rows of a table that only meet within their own set."""
