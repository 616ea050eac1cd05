"""Findings about tokens that have a wire of their own, spaces that never change, and axes that are too short."""

from __future__ import annotations

import torch

from lawful import blocks as b

from .finding import Finding, P, plane
from .settings.setting import linear, tokens


def token_findings() -> list[Finding]:
    """Tokens that some block treats apart from the others."""

    def read_alone() -> b.Net:
        attention = b.residual(b.LayerNormCore(3, 0.0) >> b.SelfAttention(3, 1, head_width=2))
        return linear(2, 3) >> b.ClassToken(3) >> attention >> b.SelectToken(0) >> linear(3, 2)

    def patch_map(p: P) -> torch.Tensor:
        return torch.cat([p["0.weight"].sum(0), p["0.weight"].square().sum()[None]])

    def own_columns(p: P) -> torch.Tensor:
        head = p["3.weight"][:, :2]
        return p["1.token.weight"].T @ p["1.token.weight"] - head.T @ head

    return [
        Finding(
            "a class token read alone",
            read_alone,
            17,
            "its wire and that of the other tokens move apart: `‖W‖²` and `1ᵀ W` of the patch map alone",
            patch_map,
            tokens(2, 4),
        ),
        Finding(
            "a class token with columns of its own",
            lambda: linear(2, 2) >> b.ClassToken(2) >> b.Flatten() >> linear(6, 2),
            6,
            "the head reads every token by columns of their own: one balance for the class token, one for the others",
            own_columns,
            tokens(2, 2),
        ),
        Finding(
            "positions of tokens that nothing reads",
            lambda: linear(2, 2) >> b.LearnedPosition(3, 2) >> b.ReLU() >> b.SelectToken(0) >> linear(2, 2),
            6,
            "their rows of the table never move",
            lambda p: p["1.table.weight"][1:],
            tokens(2),
        ),
        Finding(
            "a mean right behind a map over tokens",
            lambda: b.TokenMLP(3, 2, "relu") >> b.GlobalAveragePool() >> linear(2, 2),
            9,
            "the mean only sees the column sums of the last map: differences of its rows are conserved",
            lambda p: p["0.weight2"][1:] - p["0.weight2"][:1],
            tokens(2),
        ),
        Finding(
            "products of table rows",
            lambda: b.Embedding(4, 4) >> b.Split((2, 2)) >> b.Product() >> linear(2, 2),
            10,
            "each row of the table has laws of its own: `a² - b²` for the two entries of a product",
            lambda p: p["0.weight"][:, :2].square() - p["0.weight"][:, 2:].square(),
            space=(3,),
        ),
    ]


def space_findings() -> list[Finding]:
    """Spaces that the columns of a matrix span and keep, by functions that are no polynomials of degree two."""

    def transposed() -> b.Net:
        first = linear(2, 4)
        return first >> b.Linear(4, 2, False, tie=b.Tie(first, transposed=True))

    def vocabulary() -> b.Net:
        table = b.Embedding(3, 4)
        return table >> b.TiedHead(table)

    return [
        Finding(
            "`Wᵀ W` with an inner width above the outer one",
            transposed,
            4,
            "the column space of `W` never changes: a plane in 4 dimensions",
            lambda p: plane(p["0.weight"]),
        ),
        Finding(
            "a tied head and fewer words than features",
            vocabulary,
            3,
            "the row space of the table never changes: 3 of 4 dimensions",
            lambda p: plane(p["0.weight"].T),
            space=(3,),
            loss="cross_entropy",
        ),
        Finding(
            "fewer vectors than features around RMSNorm",
            lambda: linear(2, 4) >> b.RMSNormCore(4, 0.0) >> linear(4, 1),
            4,
            "the space that the columns of `W` and the rows of `V` span never changes: 3 of 4 dimensions",
            lambda p: plane(torch.cat([p["0.weight"], p["2.weight"].T], 1)),
        ),
        Finding(
            "a contrastive loss on outputs of low rank",
            lambda: linear(2, 2) >> linear(2, 3),
            6,
            "it compares outputs with one another, so the plane that they lie in never changes",
            lambda p: plane(p["1.weight"]),
            loss="contrastive",
        ),
    ]


def accident_findings() -> list[Finding]:
    """Axes so short that a block is another function."""
    return [
        Finding(
            "LayerNorm over two features",
            lambda: linear(2, 2) >> b.LayerNormCore(2, 0.0) >> linear(2, 2),
            6,
            "only the sign of their difference is left: nothing before the norm moves",
            lambda p: p["0.weight"],
        ),
        Finding(
            "attention over one token",
            lambda: b.SelfAttention(2, 1),
            11,
            "a softmax over one key is 1: queries and keys never move",
            lambda p: torch.cat([p["heads.q.weight"], p["heads.k.weight"]]),
            tokens(2, 1),
        ),
        Finding(
            "a convolution wider than its image, then the mean",
            lambda: b.Conv1d(2, 2, 3, 1, 1, bias=False) >> b.GlobalAveragePool() >> linear(2, 2),
            7,
            "only sums of neighbouring taps are seen: `w_0 - w_1 + w_2` is conserved for every pair of channels",
            lambda p: p["0.weight"][:, :, 0] - p["0.weight"][:, :, 1] + p["0.weight"][:, :, 2],
            space=(2,),
        ),
        Finding(
            "a chain from one number to one number",
            lambda: linear(1, 2) >> linear(2, 2) >> linear(2, 1),
            7,
            "one scalar function of the parameters is left, so every function constant along its gradient is a law",
            None,
        ),
    ]
