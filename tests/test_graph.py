"""Graph questions answered by SciPy, against networkx and against the occupancy measure."""

import re

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy

from occmatch import MDP, examples, graph, occupancy

MDPS = corner_mdps()


def simple_graph(mdp, allowed):
    edges = [(s, t) for s, t, a in graph.to_networkx(mdp).edges(keys=True) if allowed[s, a] > 0]
    G = nx.DiGraph(edges)
    G.add_nodes_from(range(mdp.S))
    return G


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("policy", [False, True])
def test_reachability_and_classes_agree_with_networkx(name, policy):
    mdp = MDPS[name]
    allowed = deterministic_policy(mdp, np.random.default_rng(1)) if policy else np.ones(mdp.shape)
    G = simple_graph(mdp, allowed)
    starts = np.flatnonzero(mdp.p0)
    reached = set(starts).union(*(nx.descendants(G, s) for s in starts.tolist()))
    assert set(np.flatnonzero(graph.reachable(mdp, allowed))) == reached
    label = graph.communicating_classes(mdp, allowed)
    classes = {frozenset(np.flatnonzero(label == k).tolist()) for k in range(label.max() + 1)}
    components = {frozenset(c) for c in nx.strongly_connected_components(G)}
    assert classes == components
    closed = {frozenset(c.tolist()) for c in graph.closed_classes(mdp, allowed)}
    assert closed == {frozenset(c) for c in nx.attracting_components(G)}


@pytest.mark.parametrize("name", [name for name, mdp in MDPS.items() if mdp.gamma > 0])
def test_reachable_states_are_those_with_occupancy_mass(name):
    mdp = MDPS[name]
    pi = deterministic_policy(mdp, np.random.default_rng(2))
    assert (graph.reachable(mdp, pi) == (occupancy(mdp, pi).sum(axis=1) > 0)).all()


def test_absorbing_states():
    lift = examples.finite_horizon(examples.river_swim(3), 2)
    assert np.flatnonzero(graph.absorbing(lift)).tolist() == [6]
    half_open = MDP(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]]), [1.0, 0.0], 0.9)
    assert graph.absorbing(half_open).tolist() == [False, True]


def test_viable_actions_by_hand():
    # Action 1 leads on along 0 -> 1 -> 2 -> 3, action 0 stays; forbidding both in 3 makes moving there a dead end,
    # and forbidding to stay in 2 passes that back to 1, where staying is still allowed.
    P = np.zeros((4, 2, 4))
    for s in range(4):
        P[s, 0, s], P[s, 1, min(s + 1, 3)] = 1.0, 1.0
    mdp = MDP(P, [1.0, 0, 0, 0], 0.9)
    allowed = np.array([[1, 1], [1, 1], [0, 1], [0, 0]])
    assert graph.viable(mdp, allowed).tolist() == [[True, True], [True, False], [False, False], [False, False]]
    one_step = MDP(P, [1.0, 0, 0, 0], 0.0)
    assert (graph.viable(one_step, allowed) == allowed).all()


@pytest.mark.parametrize("name", MDPS)
def test_networkx_round_trip(name):
    mdp = MDPS[name]
    back = graph.from_networkx(graph.to_networkx(mdp))
    assert back.shape == mdp.shape
    assert np.abs((back.P - mdp.P).toarray()).max() <= np.finfo(float).eps  # rows are divided by their sum once more
    assert np.abs(back.p0 - mdp.p0).max() <= np.finfo(float).eps
    assert back.gamma == mdp.gamma


def test_nodes_may_have_any_names():
    G = nx.MultiDiGraph()
    G.add_node("start", p0=1.0)
    G.add_edge("start", "end", action=0, probability=1.0)
    G.add_edge("end", "end", action=0, probability=1.0)
    mdp = graph.from_networkx(G, gamma=0.5)
    assert mdp.P.toarray().tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_bad_graphs_are_named():
    G = nx.MultiDiGraph(gamma=0.9)
    G.add_node("a", p0=1.0)
    with pytest.raises(ValueError, match="graph must have edges, but has 1 nodes and none"):
        graph.from_networkx(G)
    G.add_edge("a", "a", action=0)
    with pytest.raises(ValueError, match=re.escape("edge ('a', 'a') must have 'action' and 'probability'")):
        graph.from_networkx(G)
    G.edges["a", "a", 0]["probability"] = 0.7
    with pytest.raises(ValueError, match=re.escape("P[0, 0] must be a probability distribution")):
        graph.from_networkx(G)
    G.edges["a", "a", 0]["action"] = -1
    with pytest.raises(ValueError, match=re.escape("action of edge ('a', 'a') must be an integer of at least 0")):
        graph.from_networkx(G)
    G.edges["a", "a", 0].update(action=0, probability=1.0)
    kind, shape = "must be an array of real numbers, but is", "must have shape (), but has shape"
    for wrong, said in (("1", f"{kind} str"), (None, f"{kind} NoneType"), (np.ones(2), f"{shape} (2,)")):
        G.edges["a", "a", 0]["probability"] = wrong
        with pytest.raises(ValueError, match=re.escape(f"probability of edge ('a', 'a') {said}")):
            graph.from_networkx(G)
        G.edges["a", "a", 0]["probability"], G.nodes["a"]["p0"] = 1.0, wrong
        with pytest.raises(ValueError, match=re.escape(f"p0 of node 'a' {said}")):
            graph.from_networkx(G)
        G.nodes["a"]["p0"] = 1.0
    G.edges["a", "a", 0]["probability"] = 1.5
    G.add_edge("a", "a", action=0, probability=-0.5)
    with pytest.raises(ValueError, match=re.escape("probability of edge ('a', 'a') must be at least 0, but is -0.5")):
        graph.from_networkx(G)
    G.remove_edge("a", "a", 1)
    G.edges["a", "a", 0]["probability"] = 1.0
    del G.graph["gamma"]
    with pytest.raises(ValueError, match="gamma must be given"):
        graph.from_networkx(G)


@pytest.mark.parametrize("make", [nx.MultiGraph, nx.Graph, list])
def test_what_has_no_directions_is_no_mdp(make):
    chain = graph.to_networkx(examples.two_state_chain())
    with pytest.raises(ValueError, match=f"graph must be a directed graph of networkx, but is {make.__name__}"):
        graph.from_networkx(make(chain))


@pytest.mark.parametrize("name", ["chain", "slippery grid"])
@pytest.mark.parametrize("policy", [False, True])
def test_drawing_shows_every_state_and_every_used_transition(name, policy):
    mdp = MDPS[name]
    pi = deterministic_policy(mdp, np.random.default_rng(3)) if policy else None
    ax = graph.draw(mdp, pi)
    used = np.ones(mdp.shape) if pi is None else pi
    transitions = sum(used[s, a] > 0 for s, _, a in graph.to_networkx(mdp).edges(keys=True))
    assert len(ax.patches) == transitions
    assert {text.get_text() for text in ax.texts} == {str(s) for s in range(mdp.S)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"action {a}" for a in range(mdp.A)]
    plt.close(ax.figure)
