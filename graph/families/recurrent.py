"""Recurrent language models: LSTMs."""

from __future__ import annotations

from lawful.blocks import LSTM, Dropout, Embedding, Linear, Net, Tie, chain, repeat

from ..architecture.architecture import Architecture


def lstm_lm(
    layers: int = 2,
    width: int = 1500,
    vocabulary: int = 10000,
    context: int = 35,
    dropout: float = 0.65,
    tied: bool = False,
) -> Architecture:
    """An LSTM language model, the large one of Zaremba et al. by default: 66,034,000 parameters.

    Layers have two biases, as in torch; the paper counts one.  With a tied head (Press, Wolf 2017) there are
    51,034,000 parameters.

    Args:
        layers: LSTM layers.
        width: features of embedding and hidden states.
        vocabulary: number of tokens.
        context: number of positions.
        dropout: probability before every layer and before the head; 0 leaves the blocks out.
        tied: whether the head is the embedding, with a bias of its own.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Source: Zaremba, Sutskever, Vinyals, *Recurrent Neural Network Regularization* (2014), sections 3 and 4.1.
    """
    embedding = Embedding(vocabulary, width)

    def drop() -> dict[str, Net]:
        return {"dropout": Dropout(dropout)} if dropout else {}

    net = chain(
        embedding=embedding,
        layers=repeat([chain(**drop(), lstm=LSTM(width, width)) for _ in range(layers)]),
        **drop(),
        head=Linear(width, vocabulary, tie=Tie(embedding) if tied else None),
    )
    return Architecture(net, space=(context,))
