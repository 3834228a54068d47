"""The MDP as a directed graph: what can be reached, what communicates, and networkx views.

There is an edge s -> s' wherever some allowed action has P(s'|s, a) > 0.  States that no policy reaches from p0 carry
no occupancy mass, so nothing about them can be learned or matched; strongly connected components are the
communicating classes, and those that no edge leaves are closed: under a fixed policy, its recurrent classes.
networkx and matplotlib are imported by the functions that need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from networkx import MultiDiGraph


def adjacency(mdp: MDP, allowed: ArrayLike | None = None) -> csr_array:
    """CSR [S, S] with an entry where an allowed action leads from s to s'.

    `allowed` [S, A] is a mask, or a policy or measure (allowed where > 0); None allows everything.
    """
    checks.explicit(mdp)
    mask = np.ones(mdp.shape) if allowed is None else (checks.cost(mdp, allowed, "allowed") > 0.0).astype(np.float64)
    S, A = mdp.shape
    choose = csr_array((mask.reshape(-1), np.arange(S * A), np.arange(S + 1) * A), shape=(S, S * A))
    edges = csr_array(choose @ mdp.P)
    edges.eliminate_zeros()
    return edges


def reachable(mdp: MDP, allowed: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Which states [S] can be reached from p0 by `allowed` actions (as in `adjacency`)."""
    edges, S = adjacency(mdp, allowed), mdp.S
    # One more node, with an edge to every state that may be the first, so that a single search visits all.
    starts = np.flatnonzero(mdp.p0 > 0.0)
    indptr = np.append(edges.indptr, edges.nnz + starts.size)
    indices = np.concatenate([edges.indices, starts])
    with_source = csr_array((np.ones(indices.size), indices, indptr), shape=(S + 1, S + 1))
    found = np.zeros(S + 1, dtype=bool)
    found[breadth_first_order(with_source, S, return_predecessors=False)] = True
    return found[:S]


def viable(mdp: MDP, allowed: ArrayLike) -> NDArray[np.bool_]:
    """The allowed actions [S, A] that can be followed by allowed actions for ever.

    Drops, until nothing changes, actions that may lead to a state without any: the policies on what is left are all
    policies that use allowed actions only.  A state in which none is left has a row of False.  At gamma = 0 nothing
    that follows counts, and nothing is dropped.
    """
    mask = checks.cost(mdp, allowed, "allowed") > 0.0
    while mdp.gamma > 0.0:
        stuck = ~mask.any(axis=1)
        kept = mask & (mdp.expect(stuck.astype(np.float64)) == 0.0)
        if (kept == mask).all():
            break
        mask = kept
    return mask


def absorbing(mdp: MDP) -> NDArray[np.bool_]:
    """Which states [S] no action leaves."""
    edges = adjacency(mdp)
    return (np.diff(edges.indptr) == 1) & (edges.diagonal() > 0.0)


def communicating_classes(mdp: MDP, allowed: ArrayLike | None = None) -> NDArray[np.int32]:
    """Label [S] of each state's strongly connected component under `allowed` actions, counted from 0."""
    return connected_components(adjacency(mdp, allowed), connection="strong")[1]


def closed_classes(mdp: MDP, allowed: ArrayLike | None = None) -> list[NDArray[np.intp]]:
    """The communicating classes that no edge leaves, each as sorted states; under a policy, its recurrent classes."""
    edges = adjacency(mdp, allowed).tocoo()
    label = communicating_classes(mdp, allowed)
    left = np.unique(label[edges.row][label[edges.row] != label[edges.col]])
    return [np.flatnonzero(label == k) for k in np.setdiff1d(np.arange(label.max() + 1), left)]


def to_networkx(mdp: MDP) -> MultiDiGraph:
    """A MultiDiGraph with an edge (s, s', key a) of `action`, `probability` for each transition.

    Nodes 0 .. S-1 hold `p0`; the graph holds `gamma`.
    """
    from networkx import MultiDiGraph

    checks.explicit(mdp)
    graph = MultiDiGraph(gamma=mdp.gamma)
    graph.add_nodes_from((s, {"p0": float(p)}) for s, p in enumerate(mdp.p0))
    entries = mdp.P.tocoo()
    for row, to, p in zip(entries.row.tolist(), entries.col.tolist(), entries.data.tolist(), strict=True):
        s, a = divmod(row, mdp.A)
        graph.add_edge(s, to, key=a, action=a, probability=p)
    return graph


def from_networkx(graph: MultiDiGraph, gamma: float | None = None) -> MDP:
    """The MDP of a graph as `to_networkx` makes it; state s is the s-th node, whatever its name.

    Edges need `action` (0 .. A-1) and `probability`, nodes `p0` (0 if missing); `gamma` overrides the graph's own.
    Raises ValueError naming the node or edge at fault, and for anything but a directed graph.
    """
    if not hasattr(graph, "is_directed") or not graph.is_directed():
        raise ValueError(f"graph must be a directed graph of networkx, but is {type(graph).__name__}")
    number = {node: s for s, node in enumerate(graph.nodes)}
    p0 = [checks.scalar(start, f"p0 of node {node!r}") for node, start in graph.nodes(data="p0", default=0.0)]
    entries = []
    for u, v, data in graph.edges(data=True):
        if not {"action", "probability"} <= data.keys():
            raise ValueError(f"edge ({u!r}, {v!r}) must have 'action' and 'probability', but has {sorted(data)}")
        action = checks.count(data["action"], f"action of edge ({u!r}, {v!r})", least=0)
        # Parallel edges are added up, which would hide a negative one.
        probability = checks.lam(data["probability"], f"probability of edge ({u!r}, {v!r})")
        entries.append((number[u], action, number[v], probability))
    if not entries:
        raise ValueError(f"graph must have edges, but has {len(number)} nodes and none")
    if gamma is None and "gamma" not in graph.graph:
        raise ValueError("gamma must be given, since the graph has no attribute 'gamma'")
    state, action, to, probability = (np.array(column) for column in zip(*entries, strict=True))
    S, A = len(number), int(action.max()) + 1
    P = csr_array((probability, (state * A + action, to)), shape=(S * A, S))
    return MDP(P, p0, graph.graph["gamma"] if gamma is None else gamma)


def draw(mdp: MDP, pi: FloatArray | None = None, ax: Axes | None = None) -> Axes:
    """Draw states as circles and transitions as arrows, one colour an action; returns the axes.

    An arrow's opacity is its probability, times pi(a|s) where a policy [S, A] is given.  States lie on the MDP's
    layout if it has one, otherwise on a circle, state 0 on the left; a state's colour tells its p0.
    """
    import matplotlib.pyplot as plt
    import networkx as nx
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyArrowPatch

    checks.explicit(mdp)
    weight = np.ones(mdp.shape) if pi is None else checks.policy(mdp, pi)
    if ax is None:
        ax = plt.subplots()[1]
    graph = to_networkx(mdp)
    position = {s: (-x, y) for s, (x, y) in nx.circular_layout(graph).items()}
    if mdp.layout is not None:
        position = {s: (float(column), -float(row)) for s, (row, column) in enumerate(mdp.layout.cells)}
    points = np.array(list(position.values()))
    (left, low), (right, high) = points.min(axis=0) - 0.7, points.max(axis=0) + 0.7
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    ax.set_axis_off()
    # Black numbers must show on the darkest state too: only half of the colours is used.
    nx.draw_networkx_nodes(graph, position, ax=ax, node_color=mdp.p0, cmap="Blues", vmin=0.0, vmax=2.0, edgecolors="k")
    nx.draw_networkx_labels(graph, position, ax=ax, font_size=8)
    for a in range(mdp.A):
        edges = [(s, to) for s, to, key in graph.edges(keys=True) if key == a and weight[s, a] > 0.0]
        alpha = {(s, to): graph.edges[s, to, a]["probability"] * weight[s, a] for s, to in edges}
        moves = [(s, to) for s, to in edges if s != to]
        nx.draw_networkx_edges(
            nx.DiGraph(moves),
            position,
            ax=ax,
            edgelist=moves,
            alpha=[alpha[edge] for edge in moves],
            edge_color=f"C{a}",
            connectionstyle=f"arc3,rad={0.1 + 0.08 * a}",
        )
        # networkx scales loops with the height of the picture, which hides them on a single row of states.
        for s, _ in (edge for edge in edges if edge[0] == edge[1]):
            x, y = position[s]
            ends = {
                "posA": (x - 0.1, y + 0.1),
                "posB": (x + 0.1, y + 0.1),
                "connectionstyle": f"arc3,rad={-1.5 - 0.6 * a}",
            }
            arrow = FancyArrowPatch(**ends, arrowstyle="-|>", mutation_scale=10, color=f"C{a}", alpha=alpha[s, s])
            ax.add_patch(arrow)
    colours = [Line2D([], [], color=f"C{a}", label=f"action {a}") for a in range(mdp.A)]
    ax.legend(handles=colours, loc="upper center", ncols=mdp.A, frameon=False, bbox_to_anchor=(0.5, 0.02))
    return ax
