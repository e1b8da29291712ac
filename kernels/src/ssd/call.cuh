// What every kernel of ssd is told, chunks of sequences, and products of matrices. Included by ssd.cu alone.
#pragma once
#include "reduce.cuh"
#include "route.cuh"
#include "vector.cuh"

constexpr u32 CHUNK = 64, BLOCK = 256, DEPTH = 16, PITCH = CHUNK + 4;
constexpr u32 STAGE = 2 * DEPTH * PITCH;  // numbers in shared memory that a product needs

template <class T> struct Call {
  const T *x, *delta;
  const f32* a;
  const T *b, *c;
  const f32 *skip, *bias;
  const T* gate;
  const f32* initial;
  Route route;
  u32 heads, head_dim, states, per_group, softplus;
  u64 rows, x_batch, x_row, delta_batch, delta_row, b_batch, b_row, c_batch, c_row, gate_batch, gate_row;
};

// By head and row: delta, the sum of delta a from the chunk's first row on in two numbers, the decay from before the
// chunk up to the row, and from it to the chunk's end. By slot and head: the decay of the whole chunk.
struct Rows {
  f32 *delta, *high, *low, *from, *upto, *whole;
};

__device__ inline f32 softplus(f32 x) { return x > 20.0f ? x : log1pf(expf(x)); }
__device__ inline f32 sigmoid(f32 x) { return 1.0f / (1.0f + expf(-x)); }

// Rows first.. of a batch entry, all of one sequence. Slots are numbered so that none depends on the lengths of others:
// sequence s has those from bounds[s] / CHUNK + s on, at least as many as it needs.
struct Chunk {
  u32 batch, first, count;
  u64 row;  // the first, among all rows
};
__device__ inline u32 slot_of(const Route& route, u32 sequence) {
  return route.bounds ? route.bounds[sequence] / CHUNK + sequence : sequence * ((route.len + CHUNK - 1) / CHUNK);
}
__device__ inline Chunk chunk_of(const Route& route, u32 slot) {
  Chunk at;
  u32 end = route.len, per = (route.len + CHUNK - 1) / CHUNK;
  at.batch = route.bounds ? 0 : slot / per;
  at.first = (route.bounds ? slot : slot % per) * CHUNK;
  if (route.bounds && !route.broken()) {
    u32 low = 0, high = route.sequences;  // slot_of(low) <= slot < slot_of(high)
    while (high - low > 1) {
      u32 middle = (low + high) / 2;
      if (slot_of(route, middle) <= slot) low = middle; else high = middle;
    }
    if (route.sequences) {
      at.first = route.bounds[low] + (slot - slot_of(route, low)) * CHUNK;
      end = route.bounds[low + 1];
    }
  }
  at.count = at.first < end ? min(CHUNK, end - at.first) : 0;
  at.row = u64(at.batch) * route.len + at.first;
  return at;
}

// The decay from row j to row i of a chunk, j <= i.
__device__ inline f32 decay(const f32* high, const f32* low, u32 i, u32 j) {
  return expf((high[i] - high[j]) + (low[i] - low[j]));
}

// Numbers of a chunk by row: of x (all heads), b, c, the output's gradient before the gate.
template <class T> struct Of {
  const Call<T>& call;
  const Chunk& at;
  __device__ f32 x(u32 t, u64 column) const {
    return to_f32(call.x[at.batch * call.x_batch + (at.first + t) * call.x_row + column]);
  }
  __device__ f32 b(u32 t, u64 column) const {
    return to_f32(call.b[at.batch * call.b_batch + (at.first + t) * call.b_row + column]);
  }
  __device__ f32 c(u32 t, u64 column) const {
    return to_f32(call.c[at.batch * call.c_batch + (at.first + t) * call.c_row + column]);
  }
  __device__ f32 gate(u32 t, u64 column) const {
    return to_f32(call.gate[at.batch * call.gate_batch + (at.first + t) * call.gate_row + column]);
  }
  __device__ f32 slope(const T* dy, u64 dy_batch, u64 dy_row, u32 t, u64 column) const {
    f32 g = to_f32(dy[at.batch * dy_batch + (at.first + t) * dy_row + column]);
    if (!call.gate) return g;
    f32 z = gate(t, column);
    return g * z * sigmoid(z);
  }
};

// Which terms a sum has: all, those up to its row, those from its row on. What lies outside is not multiplied by zero but
// left out, so that what is no number there stays there.
enum class Terms { ALL, UP_TO_ROW, FROM_ROW };

template <u32 FROM, u32 TO> __device__ inline void four(f32 (&sum)[4][4], const Pack<f32>& a, const Pack<f32>& b) {
#pragma unroll
  for (u32 r = FROM; r < TO; ++r)
#pragma unroll
    for (u32 c = 0; c < 4; ++c) sum[r][c] = __fmaf_rn(a.x[r], b.x[c], sum[r][c]);
}

// sum[row, column] += a(row, k) b(k, column) over k < depth, for CHUNK rows and columns: a thread has four of each, from
// tile_row() and tile_column() on. A_DEEP: neighbouring k are neighbours in memory; else rows are. B_DEEP likewise.
__device__ inline u32 tile_row() { return threadIdx.x / 16 * 4; }
__device__ inline u32 tile_column() { return threadIdx.x % 16 * 4; }
template <Terms TERMS, bool A_DEEP, bool B_DEEP, class A, class B>
__device__ void product(f32 (&sum)[4][4], u32 depth, f32* shared, A a, B b) {
  f32 *left = shared, *right = shared + DEPTH * PITCH;
  u32 row = tile_row(), column = tile_column();
  for (u32 first = 0; first < depth; first += DEPTH) {
    __syncthreads();
#pragma unroll 1
    for (u32 i = threadIdx.x; i < DEPTH * CHUNK; i += BLOCK) {
      u32 k = A_DEEP ? i % DEPTH : i / CHUNK, r = A_DEEP ? i / DEPTH : i % CHUNK;
      left[k * PITCH + r] = first + k < depth ? a(r, first + k) : 0.0f;
      k = B_DEEP ? i % DEPTH : i / CHUNK, r = B_DEEP ? i / DEPTH : i % CHUNK;
      right[k * PITCH + r] = first + k < depth ? b(first + k, r) : 0.0f;
    }
    __syncthreads();
#pragma unroll 1
    for (u32 k = 0; k < DEPTH; k += 4) {
      if (TERMS == Terms::UP_TO_ROW && first + k > row) break;
      if (TERMS == Terms::FROM_ROW && first + k < row) continue;
      Pack<f32> l[4], r[4];
#pragma unroll
      for (u32 i = 0; i < 4; ++i) {
        l[i] = load16(left + (k + i) * PITCH + row);
        r[i] = load16(right + (k + i) * PITCH + column);
      }
      if (TERMS == Terms::UP_TO_ROW && first + k == row) {
        four<0, 4>(sum, l[0], r[0]), four<1, 4>(sum, l[1], r[1]), four<2, 4>(sum, l[2], r[2]), four<3, 4>(sum, l[3], r[3]);
      } else if (TERMS == Terms::FROM_ROW && first + k == row) {
        four<0, 1>(sum, l[0], r[0]), four<0, 2>(sum, l[1], r[1]), four<0, 3>(sum, l[2], r[2]), four<0, 4>(sum, l[3], r[3]);
      } else {
        four<0, 4>(sum, l[0], r[0]), four<0, 4>(sum, l[1], r[1]), four<0, 4>(sum, l[2], r[2]), four<0, 4>(sum, l[3], r[3]);
      }
    }
  }
}

// visit(row, column, number) for those of a thread's sums that lie inside.
template <class F> __device__ inline void each(f32 (&sum)[4][4], u32 rows, u32 columns, F visit) {
#pragma unroll
  for (u32 r = 0; r < 4; ++r)
#pragma unroll
    for (u32 c = 0; c < 4; ++c)
      if (tile_row() + r < rows && tile_column() + c < columns) visit(tile_row() + r, tile_column() + c, sum[r][c]);
}
