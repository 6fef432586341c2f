"""The cost of a network: FLOPs, memory access, the four guidelines, and an audit by them."""

from numpy_shufflenet.cost import closed_forms, communication, counting
from numpy_shufflenet.cost.ablation import Ablation, shuffle_ablation
from numpy_shufflenet.cost.audit import Audit, AuditRow, audit
from numpy_shufflenet.cost.experiments import EXPERIMENTS, Experiment
from numpy_shufflenet.cost.guidelines import GuidelineResult, measure
from numpy_shufflenet.cost.kinds import ORDER
from numpy_shufflenet.cost.network import CONVENTIONS, LayerCost, NetworkCost, count
from numpy_shufflenet.cost.published import Figure, compare_figures
from numpy_shufflenet.cost.reachability import Reach, channel_reach, feature_reuse
from numpy_shufflenet.cost.timing import shares_by_kind
from numpy_shufflenet.registry.formula import Cost, Counts, Formula

__all__ = [
    "CONVENTIONS",
    "EXPERIMENTS",
    "ORDER",
    "Ablation",
    "Audit",
    "AuditRow",
    "Cost",
    "Counts",
    "Experiment",
    "Figure",
    "Formula",
    "GuidelineResult",
    "LayerCost",
    "NetworkCost",
    "Reach",
    "audit",
    "channel_reach",
    "closed_forms",
    "communication",
    "compare_figures",
    "count",
    "counting",
    "feature_reuse",
    "measure",
    "shares_by_kind",
    "shuffle_ablation",
]
