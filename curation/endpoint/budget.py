"""What an endpoint may cost: nothing goes out that could bring it above, whatever the answer costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from curation.endpoint.service import UNIT, Answer, Cost, Request
from curation.errors import BudgetError

if TYPE_CHECKING:
    from curation.endpoint.ledger import Ledger, Reserved
    from curation.endpoint.service import Service


class Budget:
    """Reservations in a ledger: each holds the most that a request can cost until it is settled."""

    def __init__(self, service: Service, ledger: Ledger) -> None:
        self.service, self.ledger = service, ledger
        self._under_way: Counter[str | None] = Counter()
        self._changed = asyncio.Condition()

    async def reserve(self, request: Request, key: str, body: dict[str, Any]) -> Reserved:
        """A reservation for a request, which may go out when it is on the disk; `give_back` must follow.

        Waits where others that are under way hold what it needs, since they cost less as a rule.
        Raises `BudgetError` where it does not fit though none is under way.
        """
        most = self.service.cost(request.most_input, request.max_tokens)
        async with self._changed:
            while fault := self._fault(most, request.kind):
                message, holders = fault
                if not holders:
                    raise BudgetError(
                        f"[endpoint.{self.service.name}]: {message}",
                        remedy="raise it in the recipe and run the same command again: nothing is asked twice",
                    )
                await self._changed.wait()
            reserved = self.ledger.reserve(key, body, most, request.kind)
            self._under_way[request.kind] += 1
        return reserved

    async def give_back(self, reserved: Reserved) -> None:
        """One that was under way is settled."""
        async with self._changed:
            self._under_way[reserved.kind] -= 1
            self._changed.notify_all()

    def settle(self, reserved: Reserved, answer: Answer, url: str) -> None:
        """Note the answer.

        Raises `BudgetError` where it cost more than was reserved: then no budget can be kept.
        """
        self.ledger.settle(reserved, answer)
        cost, most, service = answer.cost, reserved.most, self.service
        over = cost.input_tokens > most.input_tokens or cost.output_tokens > most.output_tokens
        if over and (service.budget is not None or service.budget_tokens is not None or service.budgets):
            raise BudgetError(
                f"{url} counted {cost.input_tokens:,} tokens of prompt and {cost.output_tokens:,} of answer, "
                f"where {most.input_tokens:,} and {most.output_tokens:,} are the most: no budget can be kept",
                remedy='does the server know max_tokens? If not: tokens_parameter = "max_completion_tokens"',
            )

    def _fault(self, most: Cost, kind: str | None) -> tuple[str, int] | None:
        """What would be spent too much, and how many that are under way may give some of it back."""
        service, so_far, spent = self.service, self.ledger.spent, self.ledger.spent + most
        all_kinds = self._under_way.total()
        if service.budget is not None and spent.money > round(service.budget * UNIT):
            return f"the budget is used up: {_money(so_far, service.budget, most)}", all_kinds
        if service.budget_requests is not None and spent.requests > service.budget_requests:
            message = f"budget_requests is used up: {so_far.requests:,} of {service.budget_requests:,} went out"
            return message, all_kinds
        if service.budget_tokens is not None and spent.tokens > service.budget_tokens:
            return (
                f"budget_tokens is used up: {so_far.tokens:,} of {service.budget_tokens:,} are spent, and the next "
                f"request may take {most.tokens:,}"
            ), all_kinds
        own = service.budgets.get(kind) if kind is not None else None
        if own is not None and (self.ledger.spent_on[kind] + most).money > round(own * UNIT):
            message = f"the budget of {kind} is used up: {_money(self.ledger.spent_on[kind], own, most)}"
            return message, self._under_way[kind]
        return None


def _money(spent: Cost, budget: float, most: Cost) -> str:
    return f"{spent.money / UNIT:,.6g} of {budget:g} is spent, and the next request may cost {most.money / UNIT:,.3g}"
