from __future__ import annotations

import numpy as np

from anomaly.corpus import Corpus
from anomaly.detectors.lstm_layout import BLOCK, Layout
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer


def test_layout_gives_each_column_its_own_blocks() -> None:
    """Every token has a place, in a block that belongs to its column alone."""
    corpus = Corpus()
    for number in range(300):
        columns = {"command": f"c{number % 9}", "path": f"/p{number % 20}"}
        corpus.append(number, Action(number, "h", "u", ("q", "r")[number % 2], "added", columns))
    tokenizer = Tokenizer.fit(corpus, corpus.rows(), salt=1)
    encoded = tokenizer.encode_all(corpus, corpus.rows())
    layout = Layout.of(tokenizer, encoded.ids.shape[1])
    assert len(set(layout.places.tolist())) == tokenizer.size
    assert layout.places[0] == 0
    assert len(layout.column) * BLOCK == layout.shape[0]
    assert (np.diff(layout.column) >= 0).all()
    for number, head in enumerate(tokenizer.heads, 1):
        places = layout.places[head.start : head.stop]
        assert (layout.column[places // BLOCK] == number).all()
    assert layout.column[0] == 0
    assert layout.column.max() < layout.shape[1]
    assert (layout.place(encoded.ids) > 0).sum() == (encoded.ids > 0).sum()
