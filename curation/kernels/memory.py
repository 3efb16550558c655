"""`fetch`: ask for a place of an array ahead of reading it, so that reads from memory that no cache holds overlap."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: So many reads ahead, as many as memory may take to answer at once.
AHEAD = 32


@intrinsic  # type: ignore[untyped-decorator]
def fetch(typing: Any, data: Any, at: Any) -> Any:  # noqa: ARG001  # numba gives the context
    """Have the cache line of `data[at]` brought near; a place that the array has not is no error."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(8).as_pointer())
        integer = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, integer, integer, integer])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(prefetch, [place, integer(0), integer(3), integer(1)])
        return context.get_dummy_value()

    return types.void(data, types.int64), generate
