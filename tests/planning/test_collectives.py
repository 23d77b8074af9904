"""From a program's text to its table of collectives: bytes, counts, names, and what is wrong with some."""

from mtjax.planning.collectives import Row, find_collectives, sent, table
from mtjax.planning.hlo import read_program
from mtjax.planning.lint import lint

NAMES, SHAPE = ("data", "fsdp", "tensor"), (2, 4, 1)
PLACES = [(slice_, card) for slice_ in range(2) for card in range(4)]

TEXT = """HloModule jit_step

%all-reduce-scatter.1 (input: bf16[1024,1024]) -> bf16[256,1024] {
  %input = bf16[1024,1024]{1,0} parameter(0)
  %all-reduce.9 = bf16[1024,1024]{1,0} all-reduce(%input), channel_id=5, replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %cut = bf16[256,1024]{1,0} dynamic-slice(%all-reduce.9, %input), dynamic_slice_sizes={256,1024}
}

%cutting (p: f32[1024,1024]) -> f32[256,1024] {
  %p = f32[1024,1024]{1,0} parameter(0)
  ROOT %part = f32[256,1024]{1,0} dynamic-slice(%p, %p), dynamic_slice_sizes={256,1024}
}

%chunks (q: (s32[], f32[2])) -> (s32[], f32[2]) {
  %q = (s32[], f32[2]{0}) parameter(0)
  %in.loop = f32[524288]{0} all-reduce(%q), channel_id=8, replica_groups={}, to_apply=%add
  ROOT %r = (s32[], f32[2]{0}) tuple(%q)
}

ENTRY %main (x: f32[256,1024]) -> f32[8] {
  %x = f32[256,1024]{1,0} parameter(0)
  %gather = f32[1024,1024]{1,0} all-gather(%x), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
  %start = (bf16[8,4]{1,0}, bf16[32,4]{1,0}) all-gather-start(%x), channel_id=2, replica_groups=[2,4]<=[8]
  %over = ((f32[64]{0}, f32[8]{0}), (f32[16]{0}, f32[2]{0})) reduce-scatter-start(%x, %x), channel_id=3, \
replica_groups=[2,4]<=[8], to_apply=%add
  %plain = f32[256,1024]{1,0} reduce-scatter(%x), channel_id=4, replica_groups=[2,4]<=[8], to_apply=%add
  %fused = bf16[256,1024]{1,0} fusion(%gather), kind=kCustom, calls=%all-reduce-scatter.1
  %wasteful = f32[1024,1024]{1,0} all-reduce(%gather), channel_id=6, replica_groups=[2,4]<=[8], to_apply=%add
  %kept = f32[256,1024]{1,0} fusion(%wasteful), kind=kLoop, calls=%cutting
  %padded = f32[1024,1024]{1,0} dynamic-update-slice(%gather, %x)
  %zeros = f32[1024,1024]{1,0} all-reduce(%padded), channel_id=7, replica_groups=[2,4]<=[8], to_apply=%add
  %loop = (s32[], f32[2]{0}) while(%x), condition=%none, body=%chunks, \
backend_config={"known_trip_count":{"n":"3"}}, metadata={op_name="jit(step)/jvp()/shard_map/while"}
  %rows = f32[1024,1024]{1,0} all-gather(%x), channel_id=9, replica_groups=[4,2]<=[2,4]T(1,0), dimensions={0}
  %shift = (f32[64]{0}, f32[64]{0}, u32[], u32[]) collective-permute-start(%x), channel_id=10, \
source_target_pairs={{0,1},{1,2},{2,3},{3,0}}
  %far = (f32[100]{0}, u32[], token[]) send(%x), channel_id=11, is_host_transfer=true, \
frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
  %alone = f32[8]{0} all-reduce(%x), channel_id=12, replica_groups=[8,1]<=[8], to_apply=%add
  ROOT %y = f32[8]{0} get-tuple-element(%loop), index=1
}
"""


def found():
    return find_collectives(read_program(TEXT), SHAPE, NAMES, PLACES)


def test_the_table_by_hand():
    mega = 1024 * 1024
    assert table(found()) == [
        # wasteful and zeros, 4 MiB each; the fused one is a reduce-scatter
        Row("all-reduce", "fsdp", 4, False, 2, 8 * mega),
        # plain: its result of 1 MiB is a quarter; fused: the whole 2 MiB; over: the larger side, 64 + 8 floats
        Row("reduce-scatter", "fsdp", 4, False, 3, 6 * mega + 288),
        Row("all-reduce", "data+fsdp", 8, True, 3, 3 * 2 * mega),  # in a loop of 3
        Row("all-gather", "fsdp", 4, False, 2, 4 * mega + 256),
        Row("all-gather", "data", 2, True, 1, 4 * mega),
        Row("all-reduce", "slices", 2, True, 1, 400),
        Row("collective-permute", "fsdp", 2, False, 1, 256),
    ]


def test_a_channel_that_is_repeated_counts_once():
    again = TEXT.replace("  %rows", "  %copy = f32[1024,1024]{1,0} all-gather(%x), channel_id=1, x\n  %rows")
    assert sum(row.number for row in table(find_collectives(read_program(again), SHAPE, NAMES, PLACES))) == 13


def test_lint_finds_each_of_them_once():
    operation = '%g.1 = bf16[2,8]{1,0} copy(%p), metadata={op_name="jit(step)/gather"}'
    log = f"[SPMD] Involuntary full rematerialization. No way for HLO operation {operation}. As the last resort, ...\n"
    findings = {one.rule: one for one in lint(found(), log * 2, donated=10, aliased=4)}
    assert set(findings) == {
        "involuntary rematerialisation",
        "gather as reduction",
        "vocabulary gradient reduced whole",  # outside the loop over layers
        "rows gathered",
        "collective in the loss-chunk loop",
        "state not donated",
    }
    assert findings["involuntary rematerialisation"].number == 1
    assert findings["involuntary rematerialisation"].where == "bf16[2,8] in jit(step)/gather"
    assert findings["collective in the loss-chunk loop"].bytes == 3 * 2 * 2**20
    assert findings["state not donated"].bytes == 6
    assert findings["vocabulary gradient reduced whole"].number == findings["gather as reduction"].number == 1
    in_a_layer = [one._replace(loops=("jit(step)/transpose(jvp(Decoder))/while",)) for one in found()]
    assert "reduction then slice" in {one.rule for one in lint(in_a_layer, "", 0, 0)}
    assert lint([], "", donated=10, aliased=10) == []


def test_least_traffic():
    # A ring of 4: three quarters of 8 bytes for a gather; there and back for an all-reduce.
    assert [sent(name, 8.0, 4) for name in ("all-gather", "all-reduce", "collective-permute")] == [6.0, 12.0, 8.0]
