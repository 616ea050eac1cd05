"""Settings with tables, positions, and mixing of tokens."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import BALANCE, Setting, linear, relu_branch, tokens

TABLE = "marcotte2025, section 3"


def table_settings() -> list[Setting]:
    """Embeddings, positions, class tokens and heads that share a table."""

    def tied(v: int, n: int, h: int) -> b.Net:
        table = b.Embedding(v, n)
        return b.chain(table=table, block=b.residual(relu_branch(n, h)), head=b.TiedHead(table))

    return [
        Setting(
            "embedding",
            "a token table and a linear map",
            "Embedding",
            lambda v, n, p: b.chain(E=b.Embedding(v, n), U=linear(n, p)),
            {"v": 3, "n": 2, "p": 2},
            space=(3,),
            least={"v": 3},
        ),
        Setting(
            "padding",
            "a token table with a row of zeros",
            "Embedding",
            lambda v, n, p: b.chain(E=b.Embedding(v, n, padding_index=0), U=linear(n, p)),
            {"v": 4, "n": 2, "p": 2},
            space=(3,),
            least={"v": 4},
        ),
        Setting(
            "position",
            "a token table and a learned position before attention",
            "LearnedPosition",
            lambda v, n, d: b.chain(E=b.Embedding(v, n), P=b.LearnedPosition(3, n), mix=b.SelfAttention(n, 1, 0, d)),
            {"v": 4, "n": 2, "d": 2},
            space=(3,),
            least={"v": 3},
            source=TABLE,
        ),
        Setting(
            "sinusoidal",
            "tokens with fixed positions before attention",
            "Sinusoidal",
            lambda m, n, d: b.chain(V=linear(m, n), position=b.Sinusoidal(10.0), mix=b.SelfAttention(n, 1, 0, d)),
            {"m": 2, "n": 2, "d": 2},
            input=lambda m, n, d: tokens(m),
            source=BALANCE,
        ),
        Setting(
            "class-token",
            "a class token and positions before attention, and the mean of all tokens",
            "ClassToken",
            lambda m, n, p: b.chain(
                patch=linear(m, n, True),
                token=b.ClassToken(n),
                position=b.LearnedPosition(4, n),
                mix=b.residual(b.SelfAttention(n, 1)),
                mean=b.GlobalAveragePool(),
                head=linear(n, p),
            ),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: tokens(m),
            source=BALANCE,
        ),
        Setting(
            "select-token",
            "the last token after attention",
            "SelectToken",
            lambda n, d, p: b.chain(mix=b.SelfAttention(n, 1, 0, d), last=b.SelectToken(-1), head=linear(n, p)),
            {"n": 2, "d": 2, "p": 2},
            input=lambda n, d, p: tokens(n),
            source=BALANCE,
        ),
        Setting(
            "tied-head",
            "a language model whose head reads the token table",
            "TiedHead",
            tied,
            {"v": 4, "n": 2, "h": 2},
            space=(3,),
            loss="cross_entropy",
            least={"v": 3},
            source=BALANCE,
        ),
    ]


def mixing_settings() -> list[Setting]:
    """Maps over the tokens, and sums over the neighbours in a graph."""
    sizes = {"m": 2, "n": 2, "p": 2}

    def mixer(name: str, title: str, activation: str) -> Setting:
        return Setting(
            name,
            title,
            "TokenMLP",
            lambda m, n, h, p: b.chain(
                stem=linear(m, n), block=b.residual(b.TokenMLP(3, h, activation)), head=linear(n, p)
            ),
            {"m": 2, "n": 2, "h": 2, "p": 2},
            input=lambda m, n, h, p: tokens(m),
            source=BALANCE,
        )

    def graph(name: str, title: str, block: str, build: Callable[[int, int], b.Net]) -> Setting:
        return Setting(
            name,
            title,
            block,
            lambda m, n, p: b.chain(one=build(m, n), act=b.ReLU(), two=build(n, p)),
            sizes,
            input=lambda m, n, p: tokens(m, 4),
            source=BALANCE,
        )

    def summed(i: int, o: int) -> b.Net:
        return b.chain(sum=b.Aggregate("sum"), proj=linear(i, o))

    return [
        mixer("mixer-relu", "a ReLU MLP over tokens in a residual branch", "relu"),
        mixer("mixer-gelu", "a GELU MLP over tokens in a residual branch", "gelu"),
        graph("gcn", "two graph convolutions with ReLU", "GCN", b.GCN),
        graph("graph-sage", "two GraphSAGE layers with ReLU", "GraphSAGE", b.GraphSAGE),
        graph("graph-sum", "two sums over neighbours with ReLU", "Aggregate", summed),
    ]
