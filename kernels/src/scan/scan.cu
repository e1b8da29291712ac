// scan: selective scan forward and backward. Contract: mod.rs. Geometry: launch.rs.
//
//   A channel has 1 to 32 lanes of a warp, each with a few states in registers, and goes through a chunk of positions in
//   order; a block has neighbouring channels of one order and one group, and stages STEPS positions in shared memory: b and
//   c once for all channels, delta and u by whole rows.
//   Where channels alone do not fill the device, or backward keeps states, chunks run side by side: one pass finds the end
//   of each from zero, carry() joins them (the decay of a whole chunk is that of the sum of its delta), the next starts right.
//   Backward has chunks of STEPS positions, all in registers: wants() and carry() bring what later rows want of a state.
//   Sums over channels and over chunks go to records that are added up in order. floor: one exponential per state and row.
//
// Not yet run on a device.
#include "backward.cuh"
#include "forward.cuh"

// Whether a sequence begins in the chunk, or, backward, ends in it: what enters does not leave then.
__device__ inline bool cut(const Route& route, u32 first, u32 end, bool back) {
  if (!route.bounds) return back ? end == route.len : first == 0;
  // A bound in first..end, or one later.
  u32 from = first + back, low = 0, high = route.sequences + 1;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (route.bounds[middle] < from) low = middle + 1; else high = middle;
  }
  return low <= route.sequences && route.bounds[low] < end + back;
}

// From the ends of chunks to their starts, in place; backward the other way round. A thread has a state of a channel.
__device__ inline void carry(const Route& route, f32* all, const f32* sums, const f32* a, u64 a_row, u32 channels, u32 states,
                             u32 chunk, u32 back) {
  u64 each = u64(channels) * states, per_batch = (each + BLOCK - 1) / BLOCK, i = blockIdx.x % per_batch * BLOCK + threadIdx.x;
  if (i >= each || route.broken()) return;
  u32 batch = u32(blockIdx.x / per_batch), channel = u32(i / states), chunks = (route.len + chunk - 1) / chunk;
  f32 decay = a[channel * a_row + i % states] * LOG2_E, now = 0;
  for (u32 k = 0; k < chunks; ++k) {
    u32 j = back ? chunks - 1 - k : k, first = j * chunk;
    u64 record = u64(batch) * chunks + j;
    f32* at = all + record * each + i;
    f32 found = *at;
    *at = now;
    bool through = !cut(route, first, min(first + chunk, route.len), back != 0);
    now = found + (through ? exp2f(decay * sums[record * channels + channel]) * now : 0.0f);
  }
}

// The state of a sequence without rows, and of all for broken tables: a thread has a number of one.
__device__ inline void fill(const Route& route, const f32* from, f32* to, u64 count, u64 each) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (route.broken()) {
    to[i] = not_a_number();
  } else {
    Sequence s = route.sequence(u32(i / each));
    if (s.begin == s.end) to[i] = from ? from[i] : 0.0f;
  }
}

// The sum over orders, by row and column; gated if there is a gate.
template <class T>
__device__ void merge(const f32* parts, const T* gate, T* y, u64 count, u32 width, u32 orders, u32 len, u64 gate_batch, u64 gate_row) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  u64 row = i / width, column = i % width;
  f32 sum = 0;
  for (u32 order = 0; order < orders; ++order) sum += parts[(row * orders + order) * width + column];
  if (gate) {
    f32 z = to_f32(gate[row / len * gate_batch + row % len * gate_row + column]);
    sum *= z * sigmoid(z);
  }
  y[i] = from_f32<T>(sum);
}

// The gradient of the gate, from the sums over orders before it.
template <class T>
__device__ void gate_slope(const f32* parts, const T* gate, const T* dy, T* dgate, u64 count, u32 width, u32 orders, u32 len,
                           u64 gate_batch, u64 gate_row, u64 dy_batch, u64 dy_row) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  u64 row = i / width, column = i % width, batch = row / len;
  f32 sum = 0;
  for (u32 order = 0; order < orders; ++order) sum += parts[(row * orders + order) * width + column];
  f32 z = to_f32(gate[batch * gate_batch + row % len * gate_row + column]), s = sigmoid(z);
  dgate[i] = from_f32<T>(to_f32(dy[batch * dy_batch + row % len * dy_row + column]) * sum * s * (1.0f + z * (1.0f - s)));
}

// Sums over tiles of a group, in order: a thread has a number of db or dc.
template <class T>
__device__ void merge_tiles(const f32* tiles, T* db, T* dc, u64 rows, u32 states, u32 groups, u32 per_group) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows * groups * states) return;
  u64 row = i / (u64(groups) * states), group = i / states % groups, n = i % states;
  f32 b = 0, c = 0;
  for (u32 k = 0; k < per_group; ++k) {
    const f32* from = tiles + ((group * per_group + k) * rows + row) * 2 * states + n;
    b += from[0];
    c += from[states];
  }
  if (db) db[i] = from_f32<T>(b);
  if (dc) dc[i] = from_f32<T>(c);
}

// Sums over chunks: a block has 32 channels of one kind of number, and 32 threads for each; then the 32 in order.
__device__ inline void merge_records(const f32* records, u64 count, f32* da, f32* dskip, f32* dbias, u32 channels, u32 states) {
  LATENS_SHARED(f32, some);
  u32 tiles = (channels + 31) / 32, kind = blockIdx.x / tiles, column = threadIdx.x % 32, part = threadIdx.x / 32;
  u32 channel = blockIdx.x % tiles * 32 + column;
  f32 sum = 0;
  for (u64 record = part; channel < channels && record < count; record += 32)
    sum += records[(record * (states + 2) + kind) * channels + channel];
  some[threadIdx.x] = sum;
  __syncthreads();
  if (part || channel >= channels) return;
  for (u32 i = 1; i < 32; ++i) sum += some[i * 32 + column];
  if (kind < states) {
    if (da) da[u64(channel) * states + kind] = sum;
  } else {
    f32* to = kind == states ? dskip : dbias;
    if (to) to[channel] = sum;
  }
}

#define CALL_ARGS(T)                                                                                               \
  const T *u, const T *delta, const f32 *a, const T *b, const T *c, const f32 *skip, const f32 *bias, const T *gate, \
      const f32 *taps, const f32 *taps_bias, const T *window, const f32 *initial, LATENS_ROUTE_ARGS, u32 channels,   \
      u32 columns, u32 states, u32 unit, u32 group, u32 order_count, u32 tap_count, u32 softplus, u32 chunk, u64 u_batch, \
      u64 u_row, u64 delta_batch, u64 delta_row, u64 b_batch, u64 b_row, u64 c_batch, u64 c_row, u64 gate_batch,     \
      u64 gate_row, u64 a_row, u64 taps_row
#define CALL(T)                                                                                                    \
  Call<T>{u, delta, a, b, c, skip, bias, gate, taps, taps_bias, window, initial, LATENS_ROUTE, channels, columns,   \
          states, unit, group, order_count, tap_count, softplus, chunk, u_batch, u_row, delta_batch, delta_row, b_batch, \
          b_row, c_batch, c_row, gate_batch, gate_row, a_row, taps_row}
// Threads of a block, and blocks of a multiprocessor: left alone, the assembler spills to fit more of them.
#ifdef LATENS_EMULATOR
#define FORWARD_BOUNDS 128
#else
#define FORWARD_BOUNDS 128, 6
#endif
#define FORWARD_ENTRY(T, name, LANES)                                                                              \
  LATENS_ENTRY(scan_forward_##name##_##T, FORWARD_BOUNDS, CALL_ARGS(T), u32 lanes, const f32* starts, f32* ends, f32* sums, T* y, \
               f32* parts, f32* last) {                                                                            \
    forward<T, LANES>(CALL(T), lanes, starts, ends, sums, y, parts, last);                                         \
  }
#define ENTRIES(T)                                                                                                 \
  FORWARD_ENTRY(T, 16, 2)                                                                                          \
  FORWARD_ENTRY(T, 32, 4)                                                                                          \
  FORWARD_ENTRY(T, 64, 8)                                                                                          \
  FORWARD_ENTRY(T, any, 0)                                                                                         \
  LATENS_ENTRY(scan_wants_##T, 128, CALL_ARGS(T), u32 lanes, const T* dy, u64 dy_batch, u64 dy_row, const f32* dlast, \
               f32* ends) {                                                                                        \
    wants(CALL(T), lanes, dy, dy_batch, dy_row, dlast, ends);                                                      \
  }                                                                                                                \
  LATENS_ENTRY(scan_backward_##T, 128, CALL_ARGS(T), u32 lanes, const T* dy, u64 dy_batch, u64 dy_row,             \
               const f32* dlast, const f32* starts, const f32* later, T* du, f32* du_parts, T* ddelta, f32* tiles, \
               f32* records, f32* dinitial, u64 rows) {                                                            \
    backward(CALL(T), lanes, dy, dy_batch, dy_row, dlast, starts, later,                                           \
             To<T>{du, ddelta, du_parts, tiles, records, dinitial}, rows);                                         \
  }                                                                                                                \
  LATENS_ENTRY(scan_merge_##T, 256, const f32* parts, const T* gate, T* y, u64 count, u32 width, u32 orders, u32 len, \
               u64 gate_batch, u64 gate_row) {                                                                     \
    merge(parts, gate, y, count, width, orders, len, gate_batch, gate_row);                                        \
  }                                                                                                                \
  LATENS_ENTRY(scan_gate_##T, 256, const f32* parts, const T* gate, const T* dy, T* dgate, u64 count, u32 width,   \
               u32 orders, u32 len, u64 gate_batch, u64 gate_row, u64 dy_batch, u64 dy_row) {                      \
    gate_slope(parts, gate, dy, dgate, count, width, orders, len, gate_batch, gate_row, dy_batch, dy_row);         \
  }                                                                                                                \
  LATENS_ENTRY(scan_tiles_##T, 256, const f32* tiles, T* db, T* dc, u64 rows, u32 states, u32 groups, u32 per_group) { \
    merge_tiles(tiles, db, dc, rows, states, groups, per_group);                                                   \
  }

LATENS_ROUTE_ENTRIES(scan)
LATENS_ENTRY(scan_carry_f32, 128, LATENS_ROUTE_ARGS, f32* all, const f32* sums, const f32* a, u64 a_row, u32 channels,
             u32 states, u32 chunk, u32 back) {
  carry(LATENS_ROUTE, all, sums, a, a_row, channels, states, chunk, back);
}
LATENS_ENTRY(scan_fill_f32, 256, LATENS_ROUTE_ARGS, const f32* from, f32* to, u64 count, u64 each) {
  fill(LATENS_ROUTE, from, to, count, each);
}
LATENS_ENTRY(scan_records_f32, 1024, const f32* records, u64 count, f32* da, f32* dskip, f32* dbias, u32 channels, u32 states) {
  merge_records(records, count, da, dskip, dbias, channels, states);
}
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
