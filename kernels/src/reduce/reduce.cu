// reduce: one number of every row, or of every column; moments, correlations, statistics of classes in the headers beside.
// Contract: mod.rs, moments.rs, pearson.rs, classes.rs. Geometry: launch.rs.
//
//   rows: a block per row; each thread folds its entries, then the block folds the threads.
//   columns: a block per 32 columns, 32 threads a column; thread j takes rows j, j + 32, .., 64 of them folded for
//   themselves before they join the rest, so that long sums keep their digits. Then the 32 in order.
//   The largest is found among integers that rank as the values do (order()); NaN is the lowest.
//
// Not yet run on a device.
#include "classes.cuh"
#include "pearson.cuh"

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

LATENS_ENTRY(reduce_keys_f32, 256, const u32* labels, u32* keys, u32* items, u32 rows, u32 classes) {
  class_keys(labels, keys, items, rows, classes);
}
LATENS_ENTRY(reduce_sort_count_f32, 256, const u32* keys, u32* counts, u32 count, u32 shift) {
  sort_count(keys, counts, count, shift);
}
LATENS_ENTRY(reduce_sort_scan_f32, 1024, u32* counts, u32 count) { sort_scan(counts, count); }
LATENS_ENTRY(reduce_sort_move_f32, 256, const u32* keys, const u32* items, const u32* counts, u32* to_keys,
             u32* to_items, u32 count, u32 shift) {
  sort_move(keys, items, counts, to_keys, to_items, count, shift);
}
LATENS_ENTRY(reduce_starts_f32, 256, const u32* keys, u32* starts, u32 count, u32 most) {
  class_starts(keys, starts, count, most);
}
LATENS_ENTRY(reduce_class_counts_f32, 256, const u32* starts, u32* counts, u32* ignored, u32 rows, u32 classes, u32 add) {
  class_counts(starts, counts, ignored, rows, classes, add);
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
  }                                                                                                             \
  LATENS_ENTRY(reduce_moments_rows_##T, 256, const T* x, f32* mean, f32* variance, u32 n, u64 stride) {         \
    moments_rows(x, mean, variance, n, stride);                                                                 \
  }                                                                                                             \
  LATENS_ENTRY(reduce_moments_columns_##T, 1024, const T* x, f32* mean, f32* variance, u64 count, u32 n,        \
               u64 stride) {                                                                                    \
    moments_columns(x, mean, variance, count, n, stride);                                                       \
  }                                                                                                             \
  LATENS_ENTRY(reduce_moments_backward_##T, 256, const T* x, const f32* mean, const f32* dmean,                 \
               const f32* dvariance, T* dx, u32 n, u64 stride, f32 share, u32 by_row, u32 add) {                \
    moments_backward(x, mean, dmean, dvariance, dx, n, stride, share, by_row, add);                             \
  }                                                                                                             \
  LATENS_ENTRY(reduce_pearson_##T, 1024, const T* x, const T* y, f32* r, f32* saved, u64 count, u32 n,          \
               u64 x_stride, u64 y_stride, u32 shared) {                                                        \
    pearson(x, y, r, saved, count, n, x_stride, y_stride, shared);                                              \
  }                                                                                                             \
  LATENS_ENTRY(reduce_pearson_backward_##T, 256, const T* x, const T* y, const f32* r, const f32* saved,        \
               const f32* dr, T* dx, T* dy, u32 n, u64 x_stride, u64 y_stride, u32 shared, u32 add) {           \
    pearson_backward(x, y, r, saved, dr, dx, dy, n, x_stride, y_stride, shared, add);                           \
  }                                                                                                             \
  LATENS_ENTRY(reduce_classes_##T, 256, const T* x, const u32* items, const u32* starts, const u32* counts,     \
               f32* means, f32* squares, u32 n, u64 stride, u32 add) {                                          \
    class_moments(x, items, starts, counts, means, squares, n, stride, add);                                    \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
