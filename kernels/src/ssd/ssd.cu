// ssd: state space dual forward and backward. Contract: mod.rs. Geometry: launch.rs.
//
//   A sequence is cut into chunks of CHUNK rows, each in a slot of its own, so no chunk has rows of two sequences. All that
//   chunks ask of each other is the state between them: ends() finds what each leaves from zero, pass() joins them in order,
//   output() starts right. Within a chunk everything is a product of matrices of CHUNK rows, in tiles of f32 that 256
//   threads hold in registers; c b, which heads of a group share, is made once for them. Backward is the same the other way
//   round, and sums over heads are products over the entries of all heads of a group, or added in order.
//   The decay before a row is worth what the pairs of rows that it parts are worth, summed as they are: differences of
//   larger sums, which would be cheaper, lose their digits where decays are strong.
//   floor: 2 CHUNK head_dim + 4 head_dim states operations for a row and head, which tensor cores, next, would take over.
//
// Not yet run on a device.
typedef double f64;
#include "backward.cuh"
#include "forward.cuh"

#define CALL_ARGS(T)                                                                                                    \
  const T *x, const T *delta, const f32 *a, const T *b, const T *c, const f32 *skip, const f32 *bias, const T *gate,    \
      const f32 *initial, LATENS_ROUTE_ARGS, u32 heads, u32 head_dim, u32 states, u32 per_group, u32 softplus, u64 rows, \
      u64 x_batch, u64 x_row, u64 delta_batch, u64 delta_row, u64 b_batch, u64 b_row, u64 c_batch, u64 c_row,           \
      u64 gate_batch, u64 gate_row
#define CALL(T)                                                                                                         \
  Call<T>{x, delta, a, b, c, skip, bias, gate, initial, LATENS_ROUTE, heads, head_dim, states, per_group, softplus,     \
          rows, x_batch, x_row, delta_batch, delta_row, b_batch, b_row, c_batch, c_row, gate_batch, gate_row}
#define ROWS_ARGS f32 *row_delta, f32 *row_high, f32 *row_low, f32 *row_from, f32 *row_upto, f32 *whole
#define ROWS Rows{row_delta, row_high, row_low, row_from, row_upto, whole}
#define DY_ARGS(T) const T *dy, u64 dy_batch, u64 dy_row
// Threads of a block, and blocks of a multiprocessor: left alone, the assembler spills to fit more of them.
#ifdef LATENS_EMULATOR
#define TILED 256
#define BACKWARD 256
#else
#define TILED 256, 3
#define BACKWARD 256, 1
#endif
#define ENTRIES(T)                                                                                                      \
  LATENS_ENTRY(ssd_cumulate_##T, 256, CALL_ARGS(T), ROWS_ARGS, u64 slots) { cumulate(CALL(T), ROWS, slots); }           \
  LATENS_ENTRY(ssd_scores_##T, TILED, CALL_ARGS(T), f32* to) { scores(CALL(T), to); }                                   \
  LATENS_ENTRY(ssd_ends_##T, TILED, CALL_ARGS(T), ROWS_ARGS, f32* to) {                                                 \
    ends<T, false>(CALL(T), ROWS, nullptr, 0, 0, to);                                                                   \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_wants_##T, TILED, CALL_ARGS(T), ROWS_ARGS, DY_ARGS(T), f32* to) {                                    \
    ends<T, true>(CALL(T), ROWS, dy, dy_batch, dy_row, to);                                                             \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_output_##T, TILED, CALL_ARGS(T), ROWS_ARGS, const f32* scores, const f32* starts, T* y) {            \
    output<T, false>(CALL(T), ROWS, scores, starts, nullptr, 0, 0, y);                                                  \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_gate_##T, TILED, CALL_ARGS(T), ROWS_ARGS, const f32* scores, const f32* starts, DY_ARGS(T), T* dgate) { \
    output<T, true>(CALL(T), ROWS, scores, starts, dy, dy_batch, dy_row, dgate);                                        \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_backward_##T, BACKWARD, CALL_ARGS(T), ROWS_ARGS, const f32* scores, const f32* starts, const f32* ends, \
               DY_ARGS(T), T* dx, T* ddelta, f32* pairs, f32* records) {                                                \
    backward(CALL(T), ROWS, scores, starts, ends, dy, dy_batch, dy_row, dx, ddelta, pairs, records);                    \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_of_b_##T, TILED, CALL_ARGS(T), ROWS_ARGS, const f32* pairs, const f32* ends, DY_ARGS(T), T* db) {    \
    shared_slopes<T, true>(CALL(T), ROWS, pairs, ends, dy, dy_batch, dy_row, db);                                       \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_of_c_##T, TILED, CALL_ARGS(T), ROWS_ARGS, const f32* pairs, const f32* starts, DY_ARGS(T), T* dc) {  \
    shared_slopes<T, false>(CALL(T), ROWS, pairs, starts, dy, dy_batch, dy_row, dc);                                    \
  }                                                                                                                     \
  LATENS_ENTRY(ssd_step_##T, 256, CALL_ARGS(T), f32* state, T* y, u64 count) { step(CALL(T), state, y, count); }

LATENS_ROUTE_ENTRIES(ssd)
LATENS_ENTRY(ssd_pass_f32, 256, LATENS_ROUTE_ARGS, f32* all, const f32* whole, const f32* first, f32* last, u32 heads,
             u64 state, u32 back) {
  pass(LATENS_ROUTE, all, whole, first, last, heads, state, back);
}
LATENS_ENTRY(ssd_pair_sums_f32, 256, LATENS_ROUTE_ARGS, const f32* pairs, f32* sums, u64 count, u32 groups, u32 per_group) {
  pair_sums(LATENS_ROUTE, pairs, sums, count, groups, per_group);
}
LATENS_ENTRY(ssd_records_f32, 256, const f32* records, u64 slots, u32 heads, f32* da, f32* dskip, f32* dbias) {
  record_sums(records, slots, heads, da, dskip, dbias);
}
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
