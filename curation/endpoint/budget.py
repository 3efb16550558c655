"""What an endpoint may cost: nothing goes out that could bring it above, whatever the answer costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from curation.endpoint.service import UNIT, Answer, Cost, Request
from curation.errors import BudgetError

if TYPE_CHECKING:
    from curation.endpoint.ledger import Ledger
    from curation.endpoint.service import Service


class Budget:
    """Reservations in a ledger: each holds the most that a request can cost until it is settled."""

    def __init__(self, service: Service, ledger: Ledger) -> None:
        self.service, self.ledger = service, ledger
        self._under_way = 0
        self._changed = asyncio.Condition()

    async def reserve(self, request: Request, body: dict[str, Any]) -> Reservation:
        """A reservation for a request, which may go out now.

        Waits where others that are under way hold what it needs, since they cost less as a rule.
        Raises `BudgetError` where it does not fit though none is under way.
        """
        most = self.service.cost(request.most_input, request.max_tokens)
        async with self._changed:
            while fault := self._fault(self.ledger.spent + most):
                if not self._under_way:
                    raise BudgetError(
                        f"[endpoint.{self.service.name}]: {fault}",
                        remedy="raise it in the recipe and run the same command again: nothing is asked twice",
                    )
                await self._changed.wait()
            self._under_way += 1
        try:
            return Reservation(self, most, self.ledger.reserve(body, most))
        except BaseException:
            await self.give_back()
            raise

    async def give_back(self) -> None:
        """One that was under way is settled."""
        async with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def _fault(self, spent: Cost) -> str | None:
        """What would be spent too much."""
        service, so_far = self.service, self.ledger.spent
        if service.budget is not None and spent.money > round(service.budget * UNIT):
            return (
                f"the budget is used up: {so_far.money / UNIT:,.6g} of {service.budget:g} is spent, and the next "
                f"request may cost {(spent.money - so_far.money) / UNIT:,.3g}"
            )
        if service.budget_requests is not None and spent.requests > service.budget_requests:
            return f"budget_requests is used up: {so_far.requests:,} of {service.budget_requests:,} went out"
        if service.budget_tokens is not None and spent.tokens > service.budget_tokens:
            return (
                f"budget_tokens is used up: {so_far.tokens:,} of {service.budget_tokens:,} are spent, and the next "
                f"request may take {spent.tokens - so_far.tokens:,}"
            )
        return None


class Reservation:
    """What a request that is under way may cost; until it is settled that is spent."""

    def __init__(self, budget: Budget, most: Cost, number: int) -> None:
        self.budget, self.most, self.number = budget, most, number

    def settle(self, key: str, answer: Answer) -> None:
        """Note the answer.

        Raises `BudgetError` where it cost more than was reserved: then no budget can be kept.
        """
        self.budget.ledger.settle(self.number, key, self.most, answer)
        cost, service = answer.cost, self.budget.service
        over = cost.input_tokens > self.most.input_tokens or cost.output_tokens > self.most.output_tokens
        if over and (service.budget is not None or service.budget_tokens is not None):
            raise BudgetError(
                f"{service.url} counted {cost.input_tokens:,} tokens of prompt and {cost.output_tokens:,} of answer, "
                f"where {self.most.input_tokens:,} and {self.most.output_tokens:,} are the most: no budget can be kept",
                remedy='does the server know max_tokens? If not: tokens_parameter = "max_completion_tokens"',
            )

    def fail(self, key: str, cost: Cost, why: str) -> None:
        """Note that no answer came."""
        self.budget.ledger.fail(self.number, key, self.most, cost, why)
