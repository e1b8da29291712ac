// The shared primitives, one kernel each; primitives.rs compares them with plain Rust, on the emulator or on a GPU.
#include "reduce.cuh"
#include "vector.cuh"

LATENS_ENTRY(primitive_convert, 256, const f32* x, u16* half, u16* bfloat, f32* back, u32 n) {
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    f16 h = from_f32<f16>(x[i]);
    half[i] = h.bits;
    bfloat[i] = from_f32<bf16>(x[i]).bits;
    back[i] = to_f32(h);
  }
}

// Sums of a row at any address, by packs and one by one.
LATENS_ENTRY(primitive_visit, 128, const f16* x, f32* sum, u32* seen, u32 n) {
  f32 mine = 0;
  visit(x, n, threadIdx.x, blockDim.x, [&](u32 i, f32 value) {
    mine += value;
    atomicAdd(seen + i, 1u);
  });
  mine = block_sum(mine);
  if (threadIdx.x == 0) *sum = mine;
}

LATENS_ENTRY(primitive_pack, 32, const u16* x, u16* y) {
  u32 N = Pack<u16>::N;
  store16(y + threadIdx.x * N, load16(x + threadIdx.x * N));
}

// Per thread: block sum, block maximum, prefix sum, total; twice, to see that shared memory may be used again.
LATENS_ENTRY(primitive_block, 1024, const u32* x, u32* y) {
  for (u32 round = 0; round < 2; ++round) {
    u32 mine = x[round * blockDim.x + threadIdx.x], total;
    u32* to = y + (round * blockDim.x + threadIdx.x) * 4;
    to[0] = block_sum(mine);
    to[1] = block_max(mine);
    to[2] = block_scan(mine, total);
    to[3] = total;
  }
}

// Per lane: what each warp operation gives for its number.
LATENS_ENTRY(primitive_warp, 32, const u32* x, u32* y) {
  u32 lane = threadIdx.x, mine = x[lane];
  u32* to = y + lane * 12;
  to[0] = __shfl_sync(~0u, mine, 5);
  to[1] = __shfl_up_sync(~0u, mine, 3);
  to[2] = __shfl_down_sync(~0u, mine, 3);
  to[3] = __shfl_xor_sync(~0u, mine, 9);
  to[4] = __ballot_sync(~0u, mine & 1);
  to[5] = __match_any_sync(~0u, mine % 4);
  to[6] = __reduce_add_sync(~0u, mine);
  to[7] = __reduce_max_sync(~0u, mine);
  to[8] = u32(__any_sync(~0u, mine == 9999)) + 2 * u32(__all_sync(~0u, mine < 9999));
  to[9] = u32(__popc(mine)) + 100 * u32(__clz(int(mine))) + 10000 * u32(__ffs(int(mine)));
  to[10] = __brev(mine);
  // Two halves at once, each with a mask of its own.
  to[11] = lane < 16 ? __reduce_add_sync(0xffffu, mine) : __reduce_add_sync(0xffff0000u, 2 * mine);
}

LATENS_ENTRY(primitive_votes, 96, const u32* x, u32* y) {
  u32 vote = x[threadIdx.x];
  u32* to = y + threadIdx.x * 3;
  to[0] = u32(__syncthreads_count(vote == 1));
  to[1] = u32(__syncthreads_or(vote == 2) != 0);
  to[2] = u32(__syncthreads_and(vote < 3) != 0);
}

LATENS_ENTRY(primitive_atomics, 256, u32* y, u64* z) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(y, i);
  atomicMax(y + 1, i);
  atomicMin(y + 2, i);
  atomicAdd(z, u64(i) << 20);
  atomicMax(z + 1, u64(i) << 32);
  u32 old = y[3], seen;  // count with compare-and-swap
  while ((seen = atomicCAS(y + 3, old, old + 1)) != old) old = seen;
}

__device__ inline void mma(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2], f16) { ptx_mma_f16(d, a, b); }
__device__ inline void mma(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2], bf16) { ptx_mma_bf16(d, a, b); }

// d[16,8] = a[16,16] b[16,8] + d, both from shared memory, where they come by cp.async; `cut` bytes of the last row
// of a are left out and count as zero.
template <class T> __device__ void product(const T* a, const T* b, f32* d, u32 cut) {
  LATENS_SHARED(T, tile);  // a: 16 rows of 16; b: 16 rows of 8
  u32 lane = threadIdx.x;
  ptx_cp_async(tile + lane * 8, a + lane * 8, lane == 31 ? 16 - cut : 16);
  if (lane < 16) ptx_cp_async(tile + 256 + lane * 8, b + lane * 8);
  ptx_cp_async_commit();
  ptx_cp_async_wait<0>();
  __syncthreads();
  u32 left[4], right[4];
  ptx_ldmatrix(left, tile + lane % 16 * 16 + lane / 16 * 8);
  ptx_ldmatrix<true>(right, tile + 256 + lane % 16 * 8);
  u32 top[2] = {right[0], right[1]};
  f32 sum[4];
  for (u32 i = 0; i < 4; ++i) sum[i] = d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
  mma(sum, left, top, T{});
  for (u32 i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}
LATENS_ENTRY(primitive_product_f16, 32, const f16* a, const f16* b, f32* d, u32 cut) { product(a, b, d, cut); }
LATENS_ENTRY(primitive_product_bf16, 32, const bf16* a, const bf16* b, f32* d, u32 cut) { product(a, b, d, cut); }
