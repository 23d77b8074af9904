"""Reading a compiled program's text: instructions, trip counts, bytes, and how often what runs."""

import pytest

from mtjax.planning.hlo import array_bytes, read_program

# Written out by hand after what TPU and GPU compilers print: a loop of 32 turns whose body gathers, an attribute with a
# line break (Pallas writes those), a loop annotated with its count, and a loop in the loop.
TEXT = """HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%condition.1 (p: (s32[], f32[8])) -> pred[] {
  %limit = s32[]{:T(128)} constant(32), metadata={op_name="jit(step)/while"}
  %p = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %less = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

%inner.body (q: f32[8]) -> f32[8] {
  ROOT %q = f32[8]{0} parameter(0)
}

%body.1 (p.1: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p.1 = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %x = f32[8]{0:T(128)} get-tuple-element(%p.1), index=1
  %all-gather.1 = f32[32]{0:T(128)} all-gather(%x), channel_id=3, replica_groups=[1,4]<=[4], dimensions={0}, \
metadata={op_name="jit(step)/while/body/dot_general"}
  %kernel = f32[8]{0} custom-call(%x), custom_call_target="tpu_custom_call", backend_config={"body":"line one
line two
}"}
  %inner = f32[8]{0} while(%x), condition=%nothing, body=%inner.body, metadata={op_name="jit(step)/while/body/inner"}, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %out = (s32[]{:T(128)}, f32[8]{0:T(128)}) tuple(%x, %kernel)
}

ENTRY %main.9 (x.1: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0:T(128)} parameter(0)
  %while.7 = (s32[]{:T(128)}, f32[8]{0:T(128)}, /*index=2*/f32[8]{0}) while(%x.1), condition=%condition.1, body=\
%body.1, metadata={op_name="jit(step)/while"}
  %all-reduce.2 = (f32[8]{0}, f32[2]{0}) all-reduce(%x.1, %x.1), channel_id=4, replica_groups={}, to_apply=%add
  ROOT %y = f32[8]{0} get-tuple-element(%while.7), index=1
}
"""


def test_instructions_and_their_parts():
    program = read_program(TEXT)
    assert program.entry == "main.9"
    gather = next(one for one in program.computations["body.1"] if one.operation == "all-gather")
    assert (gather.name, gather.operands, gather.type) == ("all-gather.1", ("x",), "f32[32]{0:T(128)}")
    assert gather.op_name == "jit(step)/while/body/dot_general"
    loop = program.computations["main.9"][1]
    assert (loop.operation, loop.calls) == ("while", {"condition": "condition.1", "body": "body.1"})


def test_an_attribute_with_line_breaks_stays_one_instruction():
    body = read_program(TEXT).computations["body.1"]
    assert [one.operation for one in body][3:] == ["custom-call", "while", "tuple"]
    assert "line two" in body[3].rest


def test_loops_multiply():
    program = read_program(TEXT)
    # The constant 32 of the condition, and 32 * 5 inside; a reduction's sum does not run by itself.
    assert program.runs == {"main.9": 1, "body.1": 32, "inner.body": 160}
    assert program.loops["inner.body"] == ("jit(step)/while", "jit(step)/while/body/inner")


@pytest.mark.parametrize(
    ("type", "sizes"),
    [
        ("bf16[32,128,4096]{2,1,0:T(8,128)(2,1)}", [2 * 32 * 128 * 4096]),
        ("(f32[], pred[8,128]{1,0:T(8,128)(4,1)}, /*index=2*/s32[3])", [4, 1024, 12]),
        ("s4[6]{0}", [3]),
        ("f8e4m3fn[10]", [10]),
        ("token[]", []),
    ],
)
def test_bytes_of_a_type(type, sizes):
    assert array_bytes(type) == sizes
