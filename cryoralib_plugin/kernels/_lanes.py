# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight float32 numbers as one value in Numba code: what one vector register holds.

LLVM vectorises a loop only after tests that its arrays do not overlap, and leaves the remainder of
short loops to scalar code; where rows are tens of numbers long, that costs more than the work. A
value of eight lanes is in vector registers by construction, on any processor.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, overload, register_model

N_LANES = 8
_VECTOR = ir.VectorType(ir.FloatType(), N_LANES)
# A product and a sum may become one instruction where the processor has it.
_FUSED = ("contract", "nsz")
# Compiled callers do not pass the typing context that its declaration begins with.
intrinsic: Any = _intrinsic


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


LANES = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Pointer to the eight numbers of the array (first argument) from an index (second) on."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    index = context.cast(builder, arguments[1], signature.args[1], types.uintp)
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, at):
    """Lanes ``array[at : at + 8]`` of a flat float32 array; no bounds are checked."""

    def generate(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature, arguments), align=4)

    return LANES(array, at), generate


@intrinsic
def store(typing_context, array, at, lanes):
    """Write ``array[at : at + 8]`` of a flat float32 array; no bounds are checked."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], _address(context, builder, signature, arguments), align=4)
        return context.get_dummy_value()

    return types.void(array, at, lanes), generate


@intrinsic
def spread(typing_context, value):
    """One float32 in every lane."""

    def generate(context, builder, signature, arguments):
        first = builder.insert_element(
            ir.Constant(_VECTOR, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0)
        )
        order = ir.Constant(ir.VectorType(ir.IntType(32), N_LANES), [0] * N_LANES)
        return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), order)

    return LANES(types.float32), generate


@intrinsic
def magnitude(typing_context, lanes):
    """Absolute value of every lane."""

    def generate(context, builder, signature, arguments):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), "llvm.fabs.v8f32"
        )
        return builder.call(function, arguments)

    return LANES(LANES), generate


@intrinsic
def larger(typing_context, left, right):
    """The larger of two numbers in every lane."""

    def generate(context, builder, signature, arguments):
        left_lanes, right_lanes = arguments
        is_larger = builder.fcmp_ordered(">", left_lanes, right_lanes)
        return builder.select(is_larger, left_lanes, right_lanes)

    return LANES(LANES, LANES), generate


def _arithmetic(name: str) -> Any:
    @intrinsic
    def apply(typing_context, left, right):
        def generate(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments, flags=_FUSED)

        return LANES(LANES, LANES), generate

    return apply


def _define(function: Any, name: str) -> None:
    apply = _arithmetic(name)

    @overload(function, inline="never")
    def _of_lanes(left, right):
        if left == LANES and right == LANES:
            return lambda left, right: apply(left, right)
        return None


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
