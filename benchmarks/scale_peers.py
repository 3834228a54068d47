"""Other tabular solvers on one MDP from a file, for benchmarks/scale.py; runs under the interpreter that has them.

    PYTHON benchmarks/scale_peers.py quantecon|mdptoolbox|mdpsolver MDP.npz

Prints one line of JSON: seconds of the solve itself, and the file that its V was written to, so that the caller can
judge every answer by the same sweep.  Conversion to the format of the library is not counted.
"""

import argparse
import json
import time

import numpy as np
from scipy.sparse import csr_matrix


def quantecon(P, cost, gamma, tol):
    from quantecon.markov import DiscreteDP

    S, A = cost.shape
    # Compiles what it uses on first use, which is not what is measured.
    DiscreteDP(np.zeros(2), csr_matrix(np.eye(2)), 0.5, [0, 1], [0, 0]).solve(method="policy_iteration")
    pairs = np.arange(S * A)
    process = DiscreteDP(-cost.reshape(-1), P, gamma, pairs // A, pairs % A)
    start = time.perf_counter()
    found = process.solve(method="policy_iteration")
    return -found.v, time.perf_counter() - start, "policy iteration", int(found.num_iter)


def mdptoolbox(P, cost, gamma, tol):
    from mdptoolbox.mdp import PolicyIterationModified

    A = cost.shape[1]
    process = PolicyIterationModified([P[a::A] for a in range(A)], -cost, gamma, epsilon=tol)
    start = time.perf_counter()
    process.run()
    return -np.array(process.V), time.perf_counter() - start, "modified policy iteration", int(process.iter)


def mdpsolver(P, cost, gamma, tol):
    import mdpsolver

    S, A = cost.shape
    ends = P.indptr
    probabilities = [[P.data[ends[r] : ends[r + 1]].tolist() for r in range(s * A, s * A + A)] for s in range(S)]
    columns = [[P.indices[ends[r] : ends[r + 1]].tolist() for r in range(s * A, s * A + A)] for s in range(S)]
    process = mdpsolver.model()
    process.mdp(discount=gamma, rewards=(-cost).tolist(), tranMatProbs=probabilities, tranMatColumns=columns)
    start = time.perf_counter()
    process.solve(algorithm="mpi", tolerance=tol, verbose=False)
    return -np.array(process.getValueVector()), time.perf_counter() - start, "modified policy iteration", 0


SOLVERS = {"quantecon": quantecon, "mdptoolbox": mdptoolbox, "mdpsolver": mdpsolver}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("solver", choices=SOLVERS, help="the library")
    parser.add_argument("mdp", help="npz that scale.py wrote")
    arguments = parser.parse_args()
    with np.load(arguments.mdp, allow_pickle=False) as data:
        cost = data["cost"]
        P = csr_matrix((data["P_data"], data["P_indices"], data["P_indptr"]), shape=(cost.size, cost.shape[0]))
        gamma, tol = float(data["gamma"]), float(data["tol"])
    V, seconds, method, iterations = SOLVERS[arguments.solver](P, cost, gamma, tol)
    values = arguments.mdp + ".V.npy"
    np.save(values, V)
    print(json.dumps({"seconds": seconds, "method": method, "iterations": iterations, "V": values}))


if __name__ == "__main__":
    main()
