// reduce: one number of every row, or of every column. Contract: mod.rs. Geometry: launch.rs.
//
//   rows: a block per row; each thread folds its entries, then the block folds the threads.
//   columns: a block per 32 columns, 32 threads a column; thread j takes rows j, j + 32, .., 64 of them folded for
//   themselves before they join the rest, so that long sums keep their digits. Then the 32 in order.
//   The largest is found among integers that rank as the values do (order()); NaN is the lowest.
//
// Not yet run on a device.
#include "reduce.cuh"
#include "vector.cuh"

// What to do besides adding: twin of the numbers in launch.rs.
constexpr u32 MEAN = 1, SUM_SQUARES = 2;

struct Added {
  typedef f32 State;
  typedef Sum Fold;
  static __device__ f32 enter(f32 x, u32 how) { return how == SUM_SQUARES ? x * x : x; }
  static __device__ f32 leave(f32 sum, u32 how, u64 count) { return how == MEAN ? sum / f32(count) : sum; }
};

struct Highest {
  typedef u32 State;
  typedef Largest Fold;
  static __device__ u32 enter(f32 x, u32) { return order(x); }
  static __device__ f32 leave(u32 order, u32, u64 count) {
    if (count == 0) return -infinity();
    if (order == 0) return not_a_number();
    return __uint_as_float(order >> 31 ? order & 0x7fffffffu : ~order);
  }
};

template <class How, class T> __device__ void rows(const T* x, f32* y, u32 n, u64 stride, u32 how) {
  typename How::State state = 0;
  visit(x + blockIdx.x * stride, n, threadIdx.x, blockDim.x,
        [&](u32, f32 x) { state = How::Fold::of(state, How::enter(x, how)); });
  state = block_fold<typename How::Fold>(state, typename How::State(0));
  if (threadIdx.x == 0) y[blockIdx.x] = How::leave(state, how, n);
}

template <class How, class T> __device__ void columns(const T* x, f32* y, u64 count, u32 n, u64 stride, u32 how) {
  LATENS_SHARED(typename How::State, parts);
  u32 column = threadIdx.x % 32, lane = threadIdx.x / 32, at = blockIdx.x * 32 + column;
  typename How::State state = 0;
  for (u64 row = lane; at < n && row < count;) {
    typename How::State some = 0;
    for (u32 i = 0; i < 64 && row < count; ++i, row += 32)
      some = How::Fold::of(some, How::enter(to_f32(x[row * stride + at]), how));
    state = How::Fold::of(state, some);
  }
  parts[threadIdx.x] = state;
  __syncthreads();
  if (lane > 0 || at >= n) return;
  for (u32 i = 1; i < 32; ++i) state = How::Fold::of(state, parts[i * 32 + column]);
  y[at] = How::leave(state, how, count);
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(reduce_rows_##T, 256, const T* x, f32* y, u32 n, u64 stride, u32 how) {                          \
    rows<Added>(x, y, n, stride, how);                                                                          \
  }                                                                                                             \
  LATENS_ENTRY(reduce_rows_max_##T, 256, const T* x, f32* y, u32 n, u64 stride, u32 how) {                      \
    rows<Highest>(x, y, n, stride, how);                                                                        \
  }                                                                                                             \
  LATENS_ENTRY(reduce_columns_##T, 1024, const T* x, f32* y, u64 count, u32 n, u64 stride, u32 how) {           \
    columns<Added>(x, y, count, n, stride, how);                                                                \
  }                                                                                                             \
  LATENS_ENTRY(reduce_columns_max_##T, 1024, const T* x, f32* y, u64 count, u32 n, u64 stride, u32 how) {       \
    columns<Highest>(x, y, count, n, stride, how);                                                              \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
