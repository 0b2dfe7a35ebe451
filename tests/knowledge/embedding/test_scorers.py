"""Scorers against torch_geometric's where it is installed, and against what each says by hand."""

from __future__ import annotations

import pytest
import torch

from kgrec_core.knowledge.embedding.scorers import SCORERS

SIZE, RELATIONS, WIDTH = 7, 3, 8


@pytest.fixture
def vectors():
    random = torch.Generator().manual_seed(1)
    return torch.nn.functional.normalize(torch.randn(SIZE, WIDTH, generator=random), dim=1)


def triples():
    source, relation, target = torch.meshgrid(torch.arange(SIZE), torch.arange(RELATIONS), torch.arange(SIZE), indexing="ij")
    return source.ravel(), relation.ravel(), target.ravel()


@pytest.mark.parametrize("name", SCORERS)
def test_as_torch_geometric(name, vectors):
    kge = pytest.importorskip("torch_geometric.nn.kge")
    oracle = {"transe": kge.TransE, "distmult": kge.DistMult, "complex": kge.ComplEx, "rotate": kge.RotatE}[name]
    scorer, half = SCORERS[name], WIDTH // 2
    extra = {"p_norm": 2.0} if name == "transe" else {"margin": 0.0} if name == "rotate" else {}
    model = oracle(SIZE, RELATIONS, half if scorer.halves else WIDTH, **extra)
    with torch.no_grad():
        relations = torch.cat([model.rel_emb.weight, model.rel_emb_im.weight], 1) if name == "complex" else model.rel_emb.weight.clone()
        model.node_emb.weight.copy_(vectors[:, :half] if scorer.halves else vectors)
        if scorer.halves:
            model.node_emb_im.weight.copy_(vectors[:, half:])
        expected = model(*triples())
    source, relation, target = triples()
    torch.testing.assert_close(scorer.score(vectors[source], relations[relation], vectors[target]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SCORERS)
def test_both_ends_and_all_entities_get_the_score_of_the_triple(name, vectors):
    scorer = SCORERS[name]
    relations = torch.randn(RELATIONS, scorer.relation_width(WIDTH), generator=torch.Generator().manual_seed(2))
    source, relation, target = triples()
    expected = scorer.score(vectors[source], relations[relation], vectors[target])
    onward = scorer.scores(scorer.onward(vectors[source], relations[relation]), vectors)
    back = scorer.scores(scorer.back(vectors[target], relations[relation]), vectors)
    every = torch.arange(len(source))
    torch.testing.assert_close(onward[every, target], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back[every, source], expected, atol=1e-4, rtol=1e-4)


def test_by_hand():
    s, r, t = (torch.tensor([x]) for x in ([1.0, 2.0], [0.5, -1.0], [2.0, 1.0]))
    assert SCORERS["transe"].score(s, r, t).item() == pytest.approx(-0.5)  # (1.5, 1) and (2, 1)
    assert SCORERS["distmult"].score(s, r, t).item() == pytest.approx(1 - 2)
    # (1 + 2i)(.5 - i) conj(2 + i) = (2.5 + 0i)(2 - i), whose real part is 5
    assert SCORERS["complex"].score(s, r, t).item() == pytest.approx(5.0)
    # turned by a quarter, 1 + 2i is -2 + i; 4 from 2 + i
    assert SCORERS["rotate"].score(s, torch.tensor([[torch.pi / 2]]), t).item() == pytest.approx(-4.0)
