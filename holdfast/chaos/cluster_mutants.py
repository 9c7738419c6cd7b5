"""All planted bugs of a cluster."""

from __future__ import annotations

from holdfast.chaos.exchange_mutants import EXCHANGE_MUTANTS
from holdfast.chaos.former_mutants import FORMER_MUTANTS
from holdfast.chaos.guard_mutants import GUARD_MUTANTS
from holdfast.chaos.member_mutants import MEMBER_MUTANTS
from holdfast.chaos.planting import Mutants
from holdfast.chaos.recovery_mutants import RECOVERY_MUTANTS
from holdfast.chaos.return_mutants import RETURN_MUTANTS
from holdfast.chaos.sender_mutants import SENDER_MUTANTS

CLUSTER_MUTANTS = Mutants(
    {
        **RECOVERY_MUTANTS,
        **MEMBER_MUTANTS,
        **RETURN_MUTANTS,
        **SENDER_MUTANTS,
        **EXCHANGE_MUTANTS,
        **GUARD_MUTANTS,
        **FORMER_MUTANTS,
    }
)
