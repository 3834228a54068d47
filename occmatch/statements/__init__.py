"""The paper's statements as short functions, to be checked on random MDPs: `python -m occmatch`.

statement       what a row is: a statement, its deviation on one MDP, its tolerance
plain           random MDPs, and second opinions that share no code with the solvers
measures        Eq 2, Prop 3.1, Lemmas 3.1 and 3.2       duality      Eq 1, 3, 7, 8, Prop 3.2, Cor 3.2.1
apprenticeship  Eq 9 to 12                               adversarial  Eq 13 to 18, Lemma A.1
surrogates      Eq 29, Prop A.1, Cor A.1.1               run          which statement meets which MDP, and what is kept

Source of all of them: Ho & Ermon (2016), *Generative Adversarial Imitation Learning*.
"""

from occmatch.statements import adversarial, apprenticeship, duality, measures, surrogates
from occmatch.statements.run import Row, check
from occmatch.statements.statement import Statement, Tolerance

STATEMENTS: tuple[Statement, ...] = (
    *measures.STATEMENTS,
    *duality.STATEMENTS,
    *apprenticeship.STATEMENTS,
    *adversarial.STATEMENTS,
    *surrogates.STATEMENTS,
)
"""Every statement of the paper, its definitions first."""

__all__ = ["STATEMENTS", "Row", "Statement", "Tolerance", "check"]
