// attention: means of values by the softmax of products, no score kept. Contract: mod.rs. Geometry: launch.rs.
//
//   A block has 16 rows of one key head; a row is a query of one of the heads that share it, so few queries still fill
//   a block. Keys and values come 32 at a time into shared memory. A warp has four rows: lane j scores key j for all
//   four; then largest, weights and sums move on (online softmax), and lane d adds up entries d, d + 32, .. of values.
//   What a row sees is a prefix of the keys, and nothing past it is touched, so a NaN there stays there.
//   Backward: backward.cuh.
//
// Not yet run on a device.
#include "backward.cuh"

// The online softmax of one row moves on by 32 scores, one a lane; `factor` is what earlier weights lose.
__device__ inline f32 weigh(f32 score, f32& largest, f32& total, f32& factor) {
  f32 before = largest;
  largest = max(before, warp_max(score));
  factor = before == largest ? 1.0f : expf(before - largest);
  // -inf weighs nothing; against itself it would be NaN.
  f32 weight = score == -infinity() ? 0.0f : expf(score - largest);
  total = total * factor + warp_sum(weight);
  return weight;
}

// PARTS: a lane's entries of a head, 32 apart.
template <u32 PARTS, class T>
__device__ void attend(const T* q, const T* k, const T* v, T* y, f32* lse, Strides qs, Strides ks, Strides vs, Shape p,
                       f32 scale) {
  LATENS_SHARED(f32, shared);
  u32 dim = p.dim, pitch = dim | 1;  // odd, so that lanes reading one entry of 32 keys meet 32 banks
  f32 *queries = shared, *keys = queries + ROWS * dim, *values = keys + KEYS * pitch, *weights = values + KEYS * dim;
  u32 lane = threadIdx.x % 32, own = threadIdx.x / 32 * OWN, rows = p.t * p.group;
  u32 first = blockIdx.x % p.tiles * ROWS, head = blockIdx.x / p.tiles % p.kv_heads;
  u64 batch = blockIdx.x / p.tiles / p.kv_heads;
  q += batch * qs.batch + head * p.group * qs.head;
  k += batch * ks.batch + head * ks.head;
  v += batch * vs.batch + head * vs.head;
  stage(queries, dim, ROWS, dim, [&](u32 r) {
    u32 row = first + r;
    return row < rows ? q + row / p.group * qs.token + row % p.group * qs.head : nullptr;
  });
  u32 seen[OWN];
  f32 largest[OWN], total[OWN], sum[OWN][PARTS];
#pragma unroll
  for (u32 r = 0; r < OWN; ++r) {
    u32 row = first + own + r;
    seen[r] = row < rows ? visible(p, row / p.group) : 0;
    largest[r] = -infinity();
    total[r] = 0.0f;
#pragma unroll
    for (u32 c = 0; c < PARTS; ++c) sum[r][c] = 0.0f;
  }
  u32 end = visible(p, (min(first + ROWS, rows) - 1) / p.group);  // later queries see more
  for (u32 start = 0; start < end; start += KEYS) {
    u32 count = min(KEYS, end - start);
    __syncthreads();  // the last keys and values are done with
    stage(keys, pitch, count, dim, [&](u32 j) { return k + (start + j) * ks.token; });
    stage(values, dim, count, dim, [&](u32 j) { return v + (start + j) * vs.token; });
    __syncthreads();
    f32 score[OWN] = {};
    for (u32 d = 0; lane < count && d < dim; ++d) {
      f32 key = keys[lane * pitch + d];
#pragma unroll
      for (u32 r = 0; r < OWN; ++r) score[r] += queries[(own + r) * dim + d] * key;
    }
#pragma unroll
    for (u32 r = 0; r < OWN; ++r) {
      f32 factor, mine = start + lane < seen[r] ? score[r] * scale : -infinity();
      weights[(own + r) * KEYS + lane] = weigh(mine, largest[r], total[r], factor);
#pragma unroll
      for (u32 c = 0; c < PARTS; ++c) sum[r][c] *= factor;
    }
    __syncwarp();
    for (u32 j = 0; j < count; ++j) {
      f32 value[PARTS];
#pragma unroll
      for (u32 c = 0; c < PARTS; ++c) value[c] = lane + 32 * c < dim ? values[j * dim + lane + 32 * c] : 0.0f;
#pragma unroll
      for (u32 r = 0; r < OWN; ++r) {
        if (start + j >= seen[r]) continue;
        f32 weight = weights[(own + r) * KEYS + j];
#pragma unroll
        for (u32 c = 0; c < PARTS; ++c) sum[r][c] += weight * value[c];
      }
    }
    __syncwarp();  // the weights may be written again
  }
#pragma unroll
  for (u32 r = 0; r < OWN; ++r) {
    u32 row = first + own + r;
    if (row >= rows) continue;
    u64 token = batch * p.t + row / p.group;
    u64 at = (token * p.kv_heads + head) * p.group + row % p.group;
    T* to = y + at * dim;
    // Only -inf among the scores leaves nothing to divide by.
    f32 log = largest[r] == -infinity() ? not_a_number() : largest[r] + logf(total[r]);
    if (lse && lane == 0) lse[at] = seen[r] ? log : -infinity();
#pragma unroll
    for (u32 c = 0; c < PARTS; ++c)
      if (lane + 32 * c < dim) to[lane + 32 * c] = from_f32<T>(seen[r] ? sum[r][c] / total[r] : 0.0f);
  }
}

#define CALL_ARGS(T)                                                                                            \
  const T *q, const T *k, const T *v, u64 qb, u64 qt, u64 qh, u64 kb, u64 kt, u64 kh, u64 vb, u64 vt, u64 vh,   \
      u32 t, u32 s, u32 group, u32 kv_heads, u32 dim, u32 block, u32 tiles, f32 scale
#define STRIDES {qb, qt, qh}, {kb, kt, kh}, {vb, vt, vh}
#define SHAPE {t, s, group, kv_heads, dim, block, tiles}
#define BACK_ARGS(T) const T *dy, const f32 *lse, const f32 *whole, u64 db, u64 dt, u64 dh

// Threads of a block, and blocks of a multiprocessor: left alone, the assembler spills to fit more of them.
#ifdef LATENS_EMULATOR
#define FORWARD THREADS
#else
#define FORWARD THREADS, 4
#endif

#define ENTRY(PARTS, DIM, T)                                                                                    \
  LATENS_ENTRY(attention_##DIM##_##T, FORWARD, CALL_ARGS(T), T* y, f32* lse) {                                  \
    attend<PARTS>(q, k, v, y, lse, STRIDES, SHAPE, scale);                                                      \
  }                                                                                                             \
  LATENS_ENTRY(attention_queries_##DIM##_##T, THREADS, CALL_ARGS(T), BACK_ARGS(T), T* dq) {                     \
    of_queries<PARTS>(Back<T>{q, k, v, dy, lse, whole, STRIDES, {db, dt, dh}, SHAPE, scale}, dq);               \
  }                                                                                                             \
  LATENS_ENTRY(attention_keys_##DIM##_##T, THREADS, CALL_ARGS(T), BACK_ARGS(T), T* dk, T* dv) {                 \
    of_keys<PARTS>(Back<T>{q, k, v, dy, lse, whole, STRIDES, {db, dt, dh}, SHAPE, scale}, dk, dv);              \
  }
#define ENTRIES(T)                                                                                              \
  ENTRY(2, 64, T)                                                                                               \
  ENTRY(4, 128, T)                                                                                              \
  ENTRY(8, 256, T)                                                                                              \
  LATENS_ENTRY(attention_whole_##T, THREADS, const T* y, const T* dy, u64 db, u64 dt, u64 dh, u32 t, u32 heads, \
               u32 dim, u64 rows, f32* whole) {                                                                 \
    wholes(y, dy, {db, dt, dh}, t, heads, dim, rows, whole);                                                    \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
