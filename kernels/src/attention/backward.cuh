// The gradients of attention. Contract: mod.rs. Geometry: launch.rs.
//
//   wholes(): a warp for each row of y, y . dy. Then scores and gradients of weights are made again twice, each time in
//   tiles of 16 rows (a query and one of the heads that share its keys) by 32 keys, lane j those of key j.
//   of_queries(): a block has 16 rows, keys come to it, and lane d adds up entries d, d + 32, .. of dq.
//   of_keys(): a block has 32 keys, the rows that see them come to it, and a warp adds up dk and dv of eight of them.
//   So nothing is added to by two blocks, at the price of two products of seven.
#pragma once
#include "call.cuh"

template <class T> struct Back {
  const T *q, *k, *v, *dy;
  const f32 *lse, *whole;
  Strides qs, ks, vs, ds;
  Shape p;
  f32 scale;
};

// y . dy, a warp for each of `rows` rows of y.
template <class T>
__device__ void wholes(const T* y, const T* dy, Strides ds, u32 t, u32 heads, u32 dim, u64 rows, f32* whole) {
  u64 row = u64(blockIdx.x) * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  u64 token = row / heads;
  const T* slope = dy + token / t * ds.batch + token % t * ds.token + row % heads * ds.head;
  f32 sum = 0.0f;
  for (u32 d = threadIdx.x % 32; d < dim; d += 32) sum += to_f32(y[row * dim + d]) * to_f32(slope[d]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) whole[row] = sum;
}

// Of a row of one key head, by its number among its pairs of a query and a head: where it lies in lse, whole and y.
__device__ inline u64 place(const Shape& p, u64 batch, u32 head, u32 row) {
  return ((batch * p.t + row / p.group) * p.kv_heads + head) * p.group + row % p.group;
}

// PARTS: a lane's entries of a head, 32 apart.
template <u32 PARTS, class T> __device__ void of_queries(const Back<T>& c, T* dq) {
  LATENS_SHARED(f32, shared);
  const Shape& p = c.p;
  u32 dim = p.dim, pitch = dim | 1;  // odd, so that lanes reading one entry of 32 keys meet 32 banks
  f32 *queries = shared, *grads = queries + ROWS * dim, *keys = grads + ROWS * dim, *slopes = keys + KEYS * pitch;
  u32 lane = threadIdx.x % 32, own = threadIdx.x / 32 * OWN, rows = p.t * p.group;
  u32 first = blockIdx.x % p.tiles * ROWS, head = blockIdx.x / p.tiles % p.kv_heads;
  u64 batch = blockIdx.x / p.tiles / p.kv_heads;
  auto at = [&](const T* x, const Strides& s, u32 row) {
    return row < rows ? x + batch * s.batch + row / p.group * s.token + (head * p.group + row % p.group) * s.head : nullptr;
  };
  stage(queries, dim, ROWS, dim, [&](u32 r) { return at(c.q, c.qs, first + r); });
  stage(grads, dim, ROWS, dim, [&](u32 r) { return at(c.dy, c.ds, first + r); });
  const T *k = c.k + batch * c.ks.batch + head * c.ks.head, *v = c.v + batch * c.vs.batch + head * c.vs.head;
  u32 seen[OWN];
  f32 log[OWN], whole[OWN], sum[OWN][PARTS];
#pragma unroll
  for (u32 r = 0; r < OWN; ++r) {
    u32 row = first + own + r;
    seen[r] = row < rows ? visible(p, row / p.group) : 0;
    log[r] = row < rows ? c.lse[place(p, batch, head, row)] : 0.0f;
    whole[r] = row < rows ? c.whole[place(p, batch, head, row)] : 0.0f;
#pragma unroll
    for (u32 i = 0; i < PARTS; ++i) sum[r][i] = 0.0f;
  }
  u32 end = visible(p, (min(first + ROWS, rows) - 1) / p.group);  // later queries see more
  for (u32 start = 0; start < end; start += KEYS) {
    u32 count = min(KEYS, end - start);
    f32 score[OWN] = {}, slope[OWN] = {};
    __syncthreads();  // the last keys are done with
    stage(keys, pitch, count, dim, [&](u32 j) { return v + (start + j) * c.vs.token; });
    __syncthreads();
    for (u32 d = 0; lane < count && d < dim; ++d) {
      f32 value = keys[lane * pitch + d];
#pragma unroll
      for (u32 r = 0; r < OWN; ++r) slope[r] += grads[(own + r) * dim + d] * value;
    }
    __syncthreads();  // the keys take the place of the values
    stage(keys, pitch, count, dim, [&](u32 j) { return k + (start + j) * c.ks.token; });
    __syncthreads();
    for (u32 d = 0; lane < count && d < dim; ++d) {
      f32 key = keys[lane * pitch + d];
#pragma unroll
      for (u32 r = 0; r < OWN; ++r) score[r] += queries[(own + r) * dim + d] * key;
    }
#pragma unroll
    for (u32 r = 0; r < OWN; ++r) {
      f32 mine = start + lane < seen[r] ? expf(score[r] * c.scale - log[r]) * (slope[r] - whole[r]) : 0.0f;
      slopes[(own + r) * KEYS + lane] = mine;
    }
    __syncwarp();
    for (u32 j = 0; j < count; ++j) {
      f32 key[PARTS];
#pragma unroll
      for (u32 i = 0; i < PARTS; ++i) key[i] = lane + 32 * i < dim ? keys[j * pitch + lane + 32 * i] : 0.0f;
#pragma unroll
      for (u32 r = 0; r < OWN; ++r) {
        if (start + j >= seen[r]) continue;
        f32 mine = slopes[(own + r) * KEYS + j];
#pragma unroll
        for (u32 i = 0; i < PARTS; ++i) sum[r][i] += mine * key[i];
      }
    }
    __syncwarp();  // the slopes may be written again
  }
#pragma unroll
  for (u32 r = 0; r < OWN; ++r) {
    u32 row = first + own + r;
    if (row >= rows) continue;
    T* to = dq + place(p, batch, head, row) * dim;
#pragma unroll
    for (u32 i = 0; i < PARTS; ++i)
      if (lane + 32 * i < dim) to[lane + 32 * i] = from_f32<T>(sum[r][i] * c.scale);
  }
}

// Rows that are in shared memory at once: twin of launch.rs. Fewer of the longest heads, whose keys leave less room.
template <u32 PARTS> struct Tall { static constexpr u32 ROWS = PARTS == 8 ? 8 : 16; };

template <u32 PARTS, class T> __device__ void of_keys(const Back<T>& c, T* dk, T* dv) {
  constexpr u32 TALL = Tall<PARTS>::ROWS, MINE = TALL / WARPS, HELD = KEYS / WARPS;
  LATENS_SHARED(f32, shared);
  const Shape& p = c.p;
  u32 dim = p.dim, pitch = dim | 1;
  f32 *keys = shared, *values = keys + KEYS * pitch, *queries = values + KEYS * pitch, *grads = queries + TALL * dim;
  f32 *weights = grads + TALL * dim, *slopes = weights + TALL * KEYS;
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, rows = p.t * p.group;
  u32 start = blockIdx.x % p.tiles * KEYS, head = blockIdx.x / p.tiles % p.kv_heads, count = min(KEYS, p.s - start);
  u64 batch = blockIdx.x / p.tiles / p.kv_heads;
  const T *k = c.k + batch * c.ks.batch + head * c.ks.head, *v = c.v + batch * c.vs.batch + head * c.vs.head;
  stage(keys, pitch, KEYS, dim, [&](u32 j) { return j < count ? k + (start + j) * c.ks.token : nullptr; });
  stage(values, pitch, KEYS, dim, [&](u32 j) { return j < count ? v + (start + j) * c.vs.token : nullptr; });
  f32 of_key[HELD][PARTS], of_value[HELD][PARTS];
#pragma unroll
  for (u32 j = 0; j < HELD; ++j)
#pragma unroll
    for (u32 i = 0; i < PARTS; ++i) of_key[j][i] = of_value[j][i] = 0.0f;
  for (u32 first = min(first_query(p, start), p.t) * p.group; first < rows; first += TALL) {
    auto at = [&](const T* x, const Strides& s, u32 row) {
      return row < rows ? x + batch * s.batch + row / p.group * s.token + (head * p.group + row % p.group) * s.head : nullptr;
    };
    __syncthreads();  // the last rows are done with
    stage(queries, dim, TALL, dim, [&](u32 r) { return at(c.q, c.qs, first + r); });
    stage(grads, dim, TALL, dim, [&](u32 r) { return at(c.dy, c.ds, first + r); });
    __syncthreads();
    f32 score[MINE] = {}, slope[MINE] = {};
    for (u32 d = 0; d < dim; ++d) {
      f32 key = keys[lane * pitch + d], value = values[lane * pitch + d];
#pragma unroll
      for (u32 r = 0; r < MINE; ++r) {
        score[r] += queries[(warp * MINE + r) * dim + d] * key;
        slope[r] += grads[(warp * MINE + r) * dim + d] * value;
      }
    }
#pragma unroll
    for (u32 r = 0; r < MINE; ++r) {
      u32 row = first + warp * MINE + r;
      bool sees = row < rows && start + lane < visible(p, row / p.group);
      u64 at = sees ? place(p, batch, head, row) : 0;
      f32 weight = sees ? expf(score[r] * c.scale - c.lse[at]) : 0.0f;
      weights[(warp * MINE + r) * KEYS + lane] = weight;
      slopes[(warp * MINE + r) * KEYS + lane] = sees ? weight * (slope[r] - c.whole[at]) : 0.0f;
    }
    __syncthreads();
    for (u32 r = 0; r < TALL && first + r < rows; ++r) {
      u32 sees = visible(p, (first + r) / p.group);
      f32 query[PARTS], grad[PARTS];
#pragma unroll
      for (u32 i = 0; i < PARTS; ++i) {
        query[i] = lane + 32 * i < dim ? queries[r * dim + lane + 32 * i] : 0.0f;
        grad[i] = lane + 32 * i < dim ? grads[r * dim + lane + 32 * i] : 0.0f;
      }
#pragma unroll
      for (u32 j = 0; j < HELD; ++j) {
        u32 key = warp * HELD + j;
        if (start + key >= sees) continue;
#pragma unroll
        for (u32 i = 0; i < PARTS; ++i) {
          of_key[j][i] += slopes[r * KEYS + key] * query[i];
          of_value[j][i] += weights[r * KEYS + key] * grad[i];
        }
      }
    }
  }
#pragma unroll
  for (u32 j = 0; j < HELD; ++j) {
    u32 key = warp * HELD + j;
    u64 to = ((batch * p.s + start + key) * p.kv_heads + head) * dim;
#pragma unroll
    for (u32 i = 0; i < PARTS; ++i) {
      if (key >= count || lane + 32 * i >= dim) continue;
      if (dk) dk[to + lane + 32 * i] = from_f32<T>(of_key[j][i] * c.scale);
      if (dv) dv[to + lane + 32 * i] = from_f32<T>(of_value[j][i]);
    }
  }
}
