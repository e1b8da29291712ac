// latens for C++17: latens.h with owned handles, tensors over memory of yours, and exceptions. Header only.
#ifndef LATENS_HPP
#define LATENS_HPP
#include "latens.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace latens {

// A call that failed: the text names the operation and the argument.
class Error : public std::runtime_error {
public:
  Error(LatensStatus status, const std::string &text) : std::runtime_error(text), status_(status) {}
  LatensStatus status() const { return status_; }

private:
  LatensStatus status_;
};

// Throw unless the call succeeded.
inline void check(LatensStatus status) {
  if (status == LATENS_STATUS_OK) return;
  std::string text(latens_error(nullptr, 0) + 1, '\0');
  latens_error(&text[0], text.size());
  text.pop_back();
  throw Error(status, text);
}

inline std::string version() { return latens_version(); }

// 16-bit floats, by their bits.
struct f16 { std::uint16_t bits; };
struct bf16 { std::uint16_t bits; };

// The host, or a GPU and one stream of it.
class Device {
public:
  Device() = default; // the host
  static Device cuda(int ordinal) {
    Device device;
    LatensDevice *handle = nullptr;
    check(latens_device_open(LATENS_DEVICE_KIND_CUDA, ordinal, &handle));
    return device.own(handle, ordinal);
  }
  // On a CUstream or cudaStream_t of yours, which outlives the device.
  static Device adopt(int ordinal, void *stream) {
    Device device;
    LatensDevice *handle = nullptr;
    check(latens_device_adopt(ordinal, stream, &handle));
    return device.own(handle, ordinal);
  }
  bool is_host() const { return !handle_; }
  int ordinal() const { return ordinal_; }
  LatensDevice *get() const { return handle_.get(); }
  void wait() const { check(latens_device_wait(get())); }

private:
  struct Free {
    void operator()(LatensDevice *handle) const { latens_device_free(handle); }
  };
  Device own(LatensDevice *handle, int ordinal) {
    handle_.reset(handle);
    ordinal_ = ordinal;
    return std::move(*this);
  }
  std::unique_ptr<LatensDevice, Free> handle_;
  int ordinal_ = 0;
};

// A tensor over memory that is not its own. Inputs and outputs alike; `none` stands for one that is left out.
class Tensor {
public:
  Tensor() = default;
  // Host memory.
  template <class T> Tensor(T *data, std::initializer_list<std::size_t> shape) : Tensor(data, shape, 1, 0) {}
  template <class T> Tensor(std::vector<T> &data, std::initializer_list<std::size_t> shape) : Tensor(data.data(), shape) {
    holds(data.size());
  }
  template <class T> Tensor(const std::vector<T> &data, std::initializer_list<std::size_t> shape) : Tensor(data.data(), shape) {
    holds(data.size());
  }
  template <class T> explicit Tensor(std::vector<T> &data) : Tensor(data.data(), {data.size()}) {}
  template <class T> explicit Tensor(const std::vector<T> &data) : Tensor(data.data(), {data.size()}) {}
  // Memory of a device.
  template <class T> static Tensor on(const Device &device, T *data, std::initializer_list<std::size_t> shape) {
    return device.is_host() ? Tensor(data, shape) : Tensor(data, shape, 2, device.ordinal());
  }
  // The same with gaps between rows: strides in elements, the last 1.
  Tensor strided(std::initializer_list<std::size_t> strides) const {
    if (strides.size() != static_cast<std::size_t>(ndim_)) throw std::invalid_argument("latens: strides are of another rank");
    Tensor tensor = *this;
    tensor.gaps_ = true;
    std::size_t d = 0;
    for (std::size_t stride : strides) tensor.strides_[d++] = static_cast<std::int64_t>(stride);
    return tensor;
  }

  // For one call: it points into this tensor.
  class Raw {
  public:
    operator const LatensTensor *() const { return present_ ? &tensor_ : nullptr; }

  private:
    friend class Tensor;
    LatensTensor tensor_{};
    bool present_ = false;
  };
  Raw raw() const {
    Raw raw;
    LatensTensor &t = raw.tensor_;
    raw.present_ = present_;
    t.data = data_;
    t.device.device_type = static_cast<decltype(t.device.device_type)>(kind_);
    t.device.device_id = id_;
    t.ndim = ndim_;
    t.dtype.code = code_;
    t.dtype.bits = bits_;
    t.dtype.lanes = 1;
    t.shape = const_cast<std::int64_t *>(shape_.data());
    t.strides = gaps_ ? const_cast<std::int64_t *>(strides_.data()) : nullptr;
    return raw;
  }

private:
  template <class T> Tensor(T *data, std::initializer_list<std::size_t> shape, int kind, int id) : kind_(kind), id_(id), present_(true) {
    using U = std::remove_cv_t<T>;
    static_assert(std::is_same_v<U, float> || std::is_same_v<U, double> || std::is_same_v<U, f16> || std::is_same_v<U, bf16> ||
                      std::is_same_v<U, std::uint32_t> || std::is_same_v<U, std::int32_t> || std::is_same_v<U, std::uint8_t> ||
                      std::is_same_v<U, std::int8_t>,
                  "latens: no such element type");
    if (shape.size() > shape_.size()) throw std::invalid_argument("latens: a tensor has at most four dimensions");
    data_ = const_cast<U *>(data);
    for (std::size_t size : shape) shape_[static_cast<std::size_t>(ndim_++)] = static_cast<std::int64_t>(size);
    bits_ = 8 * sizeof(U);
    code_ = std::is_same_v<U, bf16> ? 4 : std::is_floating_point_v<U> || std::is_same_v<U, f16> ? 2 : std::is_signed_v<U> ? 0 : 1;
  }
  void holds(std::size_t count) const {
    std::size_t want = 1;
    for (int d = 0; d < ndim_; d++) want *= static_cast<std::size_t>(shape_[static_cast<std::size_t>(d)]);
    if (want != count) throw std::invalid_argument("latens: the vector holds another number of elements than the shape");
  }

  void *data_ = nullptr;
  int kind_ = 1, id_ = 0, ndim_ = 0;
  std::uint8_t code_ = 2, bits_ = 32;
  bool present_ = false, gaps_ = false;
  std::array<std::int64_t, 4> shape_{}, strides_{};
};

inline const Tensor none{};

// Many tensors that lie in one buffer, in order and apart.
class Segments {
public:
  // Vectors: where each begins, and how long it is.
  Segments(const Device &device, const std::vector<std::uint64_t> &starts, const std::vector<std::uint64_t> &lengths)
      : Segments(device, starts, nullptr, lengths) {}
  // Matrices.
  Segments(const Device &device, const std::vector<std::uint64_t> &starts, const std::vector<std::uint64_t> &rows,
           const std::vector<std::uint64_t> &columns)
      : Segments(device, starts, &rows, columns) {}
  LatensSegments *get() const { return handle_.get(); }
  std::size_t count() const { return count_; }

private:
  Segments(const Device &device, const std::vector<std::uint64_t> &starts, const std::vector<std::uint64_t> *rows,
           const std::vector<std::uint64_t> &columns)
      : count_(starts.size()) {
    if (columns.size() != count_ || (rows && rows->size() != count_)) throw std::invalid_argument("latens: arrays of segments differ in length");
    LatensSegments *handle = nullptr;
    check(latens_segments_new(device.get(), starts.data(), rows ? rows->data() : nullptr, columns.data(), count_, &handle));
    handle_.reset(handle);
  }
  struct Free {
    void operator()(LatensSegments *handle) const { latens_segments_free(handle); }
  };
  std::unique_ptr<LatensSegments, Free> handle_;
  std::size_t count_;
};

// A change of the size of images: its weights, kept on a device.
class Resize {
public:
  Resize(const Device &device, LatensFilter filter, std::size_t from_y, std::size_t from_x, std::size_t to_y, std::size_t to_x) {
    LatensResize *handle = nullptr;
    check(latens_resize_new(device.get(), filter, from_y, from_x, to_y, to_x, &handle));
    handle_.reset(handle);
  }
  LatensResize *get() const { return handle_.get(); }

private:
  struct Free {
    void operator()(LatensResize *handle) const { latens_resize_free(handle); }
  };
  std::unique_ptr<LatensResize, Free> handle_;
};

// The operations of latens.h, in its order of arguments. Workspaces are sized by the function of the same name.
inline void linear(const Device &d, const Tensor &x, const Tensor &w, const Tensor &bias, const Tensor &y,
                   LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_linear(d.get(), x.raw(), w.raw(), bias.raw(), accumulate, y.raw()));
}
inline void linear_backward(const Device &d, const Tensor &x, const Tensor &w, const Tensor &dy, const Tensor &dx, const Tensor &dw,
                            const Tensor &db, LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_linear_backward(d.get(), x.raw(), w.raw(), dy.raw(), accumulate, dx.raw(), dw.raw(), db.raw()));
}
inline std::size_t topk_workspace(const Device &d, const Tensor &x, std::size_t k) {
  std::size_t bytes = 0;
  check(latens_topk_workspace(d.get(), x.raw(), k, &bytes));
  return bytes;
}
inline void topk(const Device &d, const Tensor &x, std::size_t k, const Tensor &values, const Tensor &indices,
                 const Tensor &workspace = none) {
  check(latens_topk(d.get(), x.raw(), k, values.raw(), indices.raw(), workspace.raw()));
}
inline std::size_t topk_flat_workspace(const Device &d, const Tensor &x, std::size_t total) {
  std::size_t bytes = 0;
  check(latens_topk_flat_workspace(d.get(), x.raw(), total, &bytes));
  return bytes;
}
inline void topk_flat(const Device &d, const Tensor &x, std::size_t total, const Tensor &values, const Tensor &indices,
                      const Tensor &offsets, const Tensor &workspace = none) {
  check(latens_topk_flat(d.get(), x.raw(), total, values.raw(), indices.raw(), offsets.raw(), workspace.raw()));
}
inline void rms_norm(const Device &d, const Tensor &x, const Tensor &weight, float eps, const Tensor &y) {
  check(latens_rms_norm(d.get(), x.raw(), weight.raw(), eps, y.raw()));
}
inline void layer_norm(const Device &d, const Tensor &x, const Tensor &weight, const Tensor &bias, float eps, const Tensor &y) {
  check(latens_layer_norm(d.get(), x.raw(), weight.raw(), bias.raw(), eps, y.raw()));
}
inline std::size_t norm_backward_workspace(const Device &d, const Tensor &x) {
  std::size_t bytes = 0;
  check(latens_norm_backward_workspace(d.get(), x.raw(), &bytes));
  return bytes;
}
inline void rms_norm_backward(const Device &d, const Tensor &x, const Tensor &weight, const Tensor &dy, float eps, const Tensor &dx,
                              const Tensor &dweight, const Tensor &workspace = none,
                              LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_rms_norm_backward(d.get(), x.raw(), weight.raw(), dy.raw(), eps, accumulate, dx.raw(), dweight.raw(), workspace.raw()));
}
inline void layer_norm_backward(const Device &d, const Tensor &x, const Tensor &weight, const Tensor &dy, float eps, const Tensor &dx,
                                const Tensor &dweight, const Tensor &dbias, const Tensor &workspace = none,
                                LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_layer_norm_backward(d.get(), x.raw(), weight.raw(), dy.raw(), eps, accumulate, dx.raw(), dweight.raw(), dbias.raw(),
                                   workspace.raw()));
}
inline void rope(const Device &d, const Tensor &positions, double base, LatensPairing pairing, const Tensor &x) {
  check(latens_rope(d.get(), positions.raw(), base, pairing, x.raw()));
}
inline void rope_backward(const Device &d, const Tensor &positions, double base, LatensPairing pairing, const Tensor &dx) {
  check(latens_rope_backward(d.get(), positions.raw(), base, pairing, dx.raw()));
}
// `block`: 1 is causal, 0 shows every key to every query.
inline void attention(const Device &d, const Tensor &q, const Tensor &k, const Tensor &v, float scale, uint32_t block, const Tensor &y,
                      const Tensor &lse = none) {
  check(latens_attention(d.get(), q.raw(), k.raw(), v.raw(), scale, block, y.raw(), lse.raw()));
}
inline std::size_t attention_backward_workspace(const Device &d, const Tensor &q, const Tensor &k, const Tensor &v) {
  std::size_t bytes = 0;
  check(latens_attention_backward_workspace(d.get(), q.raw(), k.raw(), v.raw(), &bytes));
  return bytes;
}
inline void attention_backward(const Device &d, const Tensor &q, const Tensor &k, const Tensor &v, float scale, uint32_t block, const Tensor &y,
                               const Tensor &lse, const Tensor &dy, const Tensor &dq, const Tensor &dk, const Tensor &dv,
                               const Tensor &workspace = none) {
  check(latens_attention_backward(d.get(), q.raw(), k.raw(), v.raw(), scale, block, y.raw(), lse.raw(), dy.raw(), dq.raw(), dk.raw(), dv.raw(),
                                  workspace.raw()));
}
// Steps and channels of a convolution: what is not said is 1, and no padding.
struct Conv2d : LatensConv2d {
  Conv2d() : LatensConv2d{1, 1, 0, 0, 1, 1, 1} {}
};
inline void conv2d(const Device &d, const Tensor &x, const Tensor &w, const Tensor &bias, const LatensConv2d &how, const Tensor &y) {
  check(latens_conv2d(d.get(), x.raw(), w.raw(), bias.raw(), &how, y.raw()));
}
inline std::size_t conv2d_backward_workspace(const Device &d, const Tensor &x, const Tensor &w, const LatensConv2d &how) {
  std::size_t bytes = 0;
  check(latens_conv2d_backward_workspace(d.get(), x.raw(), w.raw(), &how, &bytes));
  return bytes;
}
inline void conv2d_backward(const Device &d, const Tensor &x, const Tensor &w, const Tensor &dy, const LatensConv2d &how, const Tensor &dx,
                            const Tensor &dw, const Tensor &db, const Tensor &workspace = none,
                            LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_conv2d_backward(d.get(), x.raw(), w.raw(), dy.raw(), &how, accumulate, dx.raw(), dw.raw(), db.raw(), workspace.raw()));
}
inline void max_pool(const Device &d, const Tensor &x, const LatensWindow &window, const Tensor &y, const Tensor &indices = none) {
  check(latens_max_pool(d.get(), x.raw(), &window, y.raw(), indices.raw()));
}
inline void max_pool_backward(const Device &d, const Tensor &dy, const Tensor &indices, const LatensWindow &window, const Tensor &dx,
                              LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_max_pool_backward(d.get(), dy.raw(), indices.raw(), &window, accumulate, dx.raw()));
}
inline void average_pool(const Device &d, const Tensor &x, const LatensWindow &window, bool count_padding, const Tensor &y) {
  check(latens_average_pool(d.get(), x.raw(), &window, count_padding, y.raw()));
}
inline void average_pool_backward(const Device &d, const Tensor &dy, const LatensWindow &window, bool count_padding, const Tensor &dx,
                                  LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_average_pool_backward(d.get(), dy.raw(), &window, count_padding, accumulate, dx.raw()));
}
inline std::size_t resize_workspace(const Device &d, const Tensor &x, const Resize &by) {
  std::size_t bytes = 0;
  check(latens_resize_workspace(d.get(), x.raw(), by.get(), &bytes));
  return bytes;
}
inline void resize(const Device &d, const Tensor &x, const Resize &by, const Tensor &y, const Tensor &workspace = none) {
  check(latens_resize(d.get(), x.raw(), by.get(), y.raw(), workspace.raw()));
}
inline void resize_backward(const Device &d, const Tensor &dy, const Resize &by, const Tensor &dx, const Tensor &workspace = none,
                            LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_resize_backward(d.get(), dy.raw(), by.get(), accumulate, dx.raw(), workspace.raw()));
}
// What conv1d reads; what stays `none` is left out.
struct Conv1d {
  Tensor x, weight, bias, bounds, orders, initial;
  bool silu = false;
};
inline std::size_t conv1d_workspace(const Device &d, const Conv1d &c) {
  const Tensor::Raw x = c.x.raw(), weight = c.weight.raw(), bias = c.bias.raw(), bounds = c.bounds.raw(), orders = c.orders.raw(),
                    initial = c.initial.raw();
  const LatensConv1d call{x, weight, bias, bounds, orders, initial, c.silu};
  std::size_t bytes = 0;
  check(latens_conv1d_workspace(d.get(), &call, &bytes));
  return bytes;
}
inline void conv1d(const Device &d, const Conv1d &c, const Tensor &y, const Tensor &last = none, const Tensor &workspace = none) {
  const Tensor::Raw x = c.x.raw(), weight = c.weight.raw(), bias = c.bias.raw(), bounds = c.bounds.raw(), orders = c.orders.raw(),
                    initial = c.initial.raw();
  const LatensConv1d call{x, weight, bias, bounds, orders, initial, c.silu};
  check(latens_conv1d(d.get(), &call, y.raw(), last.raw(), workspace.raw()));
}
inline std::size_t conv1d_backward_workspace(const Device &d, const Conv1d &c) {
  const Tensor::Raw x = c.x.raw(), weight = c.weight.raw(), bias = c.bias.raw(), bounds = c.bounds.raw(), orders = c.orders.raw(),
                    initial = c.initial.raw();
  const LatensConv1d call{x, weight, bias, bounds, orders, initial, c.silu};
  std::size_t bytes = 0;
  check(latens_conv1d_backward_workspace(d.get(), &call, &bytes));
  return bytes;
}
inline void conv1d_backward(const Device &d, const Conv1d &c, const Tensor &dy, const Tensor &dlast, const Tensor &dx, const Tensor &dweight,
                            const Tensor &dbias, const Tensor &dinitial, const Tensor &workspace = none) {
  const Tensor::Raw x = c.x.raw(), weight = c.weight.raw(), bias = c.bias.raw(), bounds = c.bounds.raw(), orders = c.orders.raw(),
                    initial = c.initial.raw();
  const LatensConv1d call{x, weight, bias, bounds, orders, initial, c.silu};
  check(latens_conv1d_backward(d.get(), &call, dy.raw(), dlast.raw(), dx.raw(), dweight.raw(), dbias.raw(), dinitial.raw(),
                               workspace.raw()));
}
inline void conv1d_step(const Device &d, const Tensor &x, const Tensor &weight, const Tensor &bias, bool silu, const Tensor &state,
                        const Tensor &y) {
  check(latens_conv1d_step(d.get(), x.raw(), weight.raw(), bias.raw(), silu, state.raw(), y.raw()));
}
// What a scan reads; what stays `none` is left out.
struct Scan {
  Tensor u, delta, a, b, c, skip, bias, gate, taps, taps_bias, window, bounds, orders, initial;
  bool softplus = false;

  // For one call: it points into itself.
  class Raw {
  public:
    explicit Raw(const Scan &s)
        : raw{s.u.raw(), s.delta.raw(), s.a.raw(), s.b.raw(), s.c.raw(), s.skip.raw(), s.bias.raw(), s.gate.raw(), s.taps.raw(),
              s.taps_bias.raw(), s.window.raw(), s.bounds.raw(), s.orders.raw(), s.initial.raw()},
          call{raw[0], raw[1], raw[2], raw[3], raw[4], raw[5], raw[6], raw[7], raw[8], raw[9], raw[10], raw[11], raw[12], raw[13],
               s.softplus} {}
    Raw(const Raw &) = delete;
    Raw &operator=(const Raw &) = delete;
    operator const LatensScan *() const { return &call; }

  private:
    Tensor::Raw raw[14];
    LatensScan call;
  };
};
// Its gradients; one that stays `none` is not written.
struct ScanGradients {
  Tensor u, delta, a, b, c, skip, bias, gate, initial;
};
inline std::size_t scan_workspace(const Device &d, const Scan &s) {
  std::size_t bytes = 0;
  check(latens_scan_workspace(d.get(), Scan::Raw(s), &bytes));
  return bytes;
}
inline void scan(const Device &d, const Scan &s, const Tensor &y, const Tensor &last = none, const Tensor &workspace = none) {
  check(latens_scan(d.get(), Scan::Raw(s), y.raw(), last.raw(), workspace.raw()));
}
inline std::size_t scan_backward_workspace(const Device &d, const Scan &s) {
  std::size_t bytes = 0;
  check(latens_scan_backward_workspace(d.get(), Scan::Raw(s), &bytes));
  return bytes;
}
inline void scan_backward(const Device &d, const Scan &s, const Tensor &dy, const Tensor &dlast, const ScanGradients &g,
                          const Tensor &workspace = none) {
  const Tensor::Raw u = g.u.raw(), delta = g.delta.raw(), a = g.a.raw(), b = g.b.raw(), c = g.c.raw(), skip = g.skip.raw(),
                    bias = g.bias.raw(), gate = g.gate.raw(), initial = g.initial.raw();
  const LatensScanGradients to{u, delta, a, b, c, skip, bias, gate, initial};
  check(latens_scan_backward(d.get(), Scan::Raw(s), dy.raw(), dlast.raw(), &to, workspace.raw()));
}
inline void scan_step(const Device &d, const Scan &s, const Tensor &state, const Tensor &y) {
  check(latens_scan_step(d.get(), Scan::Raw(s), state.raw(), y.raw()));
}
// One of the orders of a scan, of a picture with its class token at row `token`, or without one.
inline void scan_order(const Device &d, LatensOrder order, std::size_t height, std::size_t width, const Tensor &rows,
                       std::int64_t token = -1, std::size_t side = 0) {
  check(latens_scan_order(d.get(), order, side, height, width, token, rows.raw()));
}
// What an ssd reads; what stays `none` is left out.
struct Ssd {
  Tensor x, delta, a, b, c, skip, bias, gate, bounds, initial;
  std::size_t groups = 1;
  bool softplus = false;

  // For one call: it points into itself.
  class Raw {
  public:
    explicit Raw(const Ssd &s)
        : raw{s.x.raw(), s.delta.raw(), s.a.raw(), s.b.raw(), s.c.raw(), s.skip.raw(), s.bias.raw(), s.gate.raw(), s.bounds.raw(),
              s.initial.raw()},
          call{raw[0], raw[1], raw[2], raw[3], raw[4], raw[5], raw[6], raw[7], raw[8], raw[9], s.groups, s.softplus} {}
    Raw(const Raw &) = delete;
    Raw &operator=(const Raw &) = delete;
    operator const LatensSsd *() const { return &call; }

  private:
    Tensor::Raw raw[10];
    LatensSsd call;
  };
};
// Its gradients; one that stays `none` is not written.
struct SsdGradients {
  Tensor x, delta, a, b, c, skip, bias, gate, initial;
};
inline std::size_t ssd_workspace(const Device &d, const Ssd &s) {
  std::size_t bytes = 0;
  check(latens_ssd_workspace(d.get(), Ssd::Raw(s), &bytes));
  return bytes;
}
inline void ssd(const Device &d, const Ssd &s, const Tensor &y, const Tensor &last = none, const Tensor &workspace = none) {
  check(latens_ssd(d.get(), Ssd::Raw(s), y.raw(), last.raw(), workspace.raw()));
}
inline std::size_t ssd_backward_workspace(const Device &d, const Ssd &s) {
  std::size_t bytes = 0;
  check(latens_ssd_backward_workspace(d.get(), Ssd::Raw(s), &bytes));
  return bytes;
}
inline void ssd_backward(const Device &d, const Ssd &s, const Tensor &dy, const Tensor &dlast, const SsdGradients &g,
                          const Tensor &workspace = none) {
  const Tensor::Raw x = g.x.raw(), delta = g.delta.raw(), a = g.a.raw(), b = g.b.raw(), c = g.c.raw(), skip = g.skip.raw(),
                    bias = g.bias.raw(), gate = g.gate.raw(), initial = g.initial.raw();
  const LatensSsdGradients to{x, delta, a, b, c, skip, bias, gate, initial};
  check(latens_ssd_backward(d.get(), Ssd::Raw(s), dy.raw(), dlast.raw(), &to, workspace.raw()));
}
inline void ssd_step(const Device &d, const Ssd &s, const Tensor &state, const Tensor &y) {
  check(latens_ssd_step(d.get(), Ssd::Raw(s), state.raw(), y.raw()));
}
inline void batch_norm(const Device &d, const Tensor &x, const Tensor &weight, const Tensor &bias, float eps, const Tensor &y,
                       const Tensor &mean, const Tensor &variance) {
  check(latens_batch_norm(d.get(), x.raw(), weight.raw(), bias.raw(), eps, y.raw(), mean.raw(), variance.raw()));
}
inline void batch_norm_by(const Device &d, const Tensor &x, const Tensor &mean, const Tensor &variance, const Tensor &weight,
                          const Tensor &bias, float eps, const Tensor &y) {
  check(latens_batch_norm_by(d.get(), x.raw(), mean.raw(), variance.raw(), weight.raw(), bias.raw(), eps, y.raw()));
}
inline std::size_t batch_norm_backward_workspace(const Device &d, const Tensor &x) {
  std::size_t bytes = 0;
  check(latens_batch_norm_backward_workspace(d.get(), x.raw(), &bytes));
  return bytes;
}
inline void batch_norm_backward(const Device &d, const Tensor &x, const Tensor &mean, const Tensor &variance, const Tensor &weight,
                                const Tensor &dy, float eps, const Tensor &dx, const Tensor &dweight = none, const Tensor &dbias = none,
                                const Tensor &workspace = none, LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_batch_norm_backward(d.get(), x.raw(), mean.raw(), variance.raw(), weight.raw(), dy.raw(), eps, accumulate, dx.raw(),
                                   dweight.raw(), dbias.raw(), workspace.raw()));
}
inline void act(const Device &d, const Tensor &gate, const Tensor &up, LatensAct act, const Tensor &y) {
  check(latens_act(d.get(), gate.raw(), up.raw(), act, y.raw()));
}
inline void act_backward(const Device &d, const Tensor &gate, const Tensor &up, const Tensor &dy, LatensAct act, const Tensor &dgate,
                         const Tensor &dup = none) {
  check(latens_act_backward(d.get(), gate.raw(), up.raw(), dy.raw(), act, dgate.raw(), dup.raw()));
}
inline void embed(const Device &d, const Tensor &table, const Tensor &ids, const Tensor &y) {
  check(latens_embed(d.get(), table.raw(), ids.raw(), y.raw()));
}
inline std::size_t embed_backward_workspace(const Device &d, const Tensor &dy, std::size_t vocab) {
  std::size_t bytes = 0;
  check(latens_embed_backward_workspace(d.get(), dy.raw(), vocab, &bytes));
  return bytes;
}
inline void embed_backward(const Device &d, const Tensor &dy, const Tensor &ids, const Tensor &dtable, const Tensor &workspace = none,
                           LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_embed_backward(d.get(), dy.raw(), ids.raw(), accumulate, dtable.raw(), workspace.raw()));
}
inline void cross_entropy(const Device &d, const Tensor &logits, const Tensor &targets, const Tensor &losses, float smoothing = 0) {
  check(latens_cross_entropy(d.get(), logits.raw(), targets.raw(), smoothing, losses.raw()));
}
inline void cross_entropy_backward(const Device &d, const Tensor &logits, const Tensor &targets, const Tensor &dlosses,
                                   const Tensor &losses, const Tensor &dlogits, float smoothing = 0) {
  check(latens_cross_entropy_backward(d.get(), logits.raw(), targets.raw(), dlosses.raw(), smoothing, losses.raw(), dlogits.raw()));
}
inline void cross_entropy_backward_in_place(const Device &d, const Tensor &logits, const Tensor &targets, const Tensor &dlosses,
                                            const Tensor &losses, float smoothing = 0) {
  check(latens_cross_entropy_backward_in_place(d.get(), logits.raw(), targets.raw(), dlosses.raw(), smoothing, losses.raw()));
}
inline void mse(const Device &d, const Tensor &x, const Tensor &y, const Tensor &losses, bool normalise = false) {
  check(latens_mse(d.get(), x.raw(), y.raw(), normalise, losses.raw()));
}
inline void mse_backward(const Device &d, const Tensor &x, const Tensor &y, const Tensor &dlosses, const Tensor &losses, const Tensor &dx,
                         bool normalise = false) {
  check(latens_mse_backward(d.get(), x.raw(), y.raw(), dlosses.raw(), normalise, losses.raw(), dx.raw()));
}
inline void reduce(const Device &d, const Tensor &x, LatensReduce how, std::size_t axis, const Tensor &y) {
  check(latens_reduce(d.get(), x.raw(), how, axis, y.raw()));
}
inline void moments(const Device &d, const Tensor &x, std::size_t axis, const Tensor &mean, const Tensor &variance) {
  check(latens_moments(d.get(), x.raw(), axis, mean.raw(), variance.raw()));
}
inline void moments_backward(const Device &d, const Tensor &x, const Tensor &mean, const Tensor &dmean, const Tensor &dvariance,
                             std::size_t axis, const Tensor &dx, LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_moments_backward(d.get(), x.raw(), mean.raw(), dmean.raw(), dvariance.raw(), axis, accumulate, dx.raw()));
}
inline void pearson(const Device &d, const Tensor &x, const Tensor &y, const Tensor &r, const Tensor &saved) {
  check(latens_pearson(d.get(), x.raw(), y.raw(), r.raw(), saved.raw()));
}
inline void pearson_backward(const Device &d, const Tensor &x, const Tensor &y, const Tensor &r, const Tensor &saved, const Tensor &dr,
                             const Tensor &dx, const Tensor &dy = none, LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_pearson_backward(d.get(), x.raw(), y.raw(), r.raw(), saved.raw(), dr.raw(), accumulate, dx.raw(), dy.raw()));
}
inline std::size_t class_moments_workspace(const Device &d, const Tensor &x, std::size_t classes) {
  std::size_t bytes = 0;
  check(latens_class_moments_workspace(d.get(), x.raw(), classes, &bytes));
  return bytes;
}
inline void class_moments(const Device &d, const Tensor &x, const Tensor &labels, const Tensor &counts, const Tensor &means,
                          const Tensor &squares, const Tensor &ignored, const Tensor &workspace = none,
                          LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_class_moments(d.get(), x.raw(), labels.raw(), accumulate, counts.raw(), means.raw(), squares.raw(), ignored.raw(),
                             workspace.raw()));
}
inline void copy(const Device &d, const Tensor &x, const Tensor &y) { check(latens_copy(d.get(), x.raw(), y.raw())); }
inline void cast(const Device &d, const Tensor &x, const Tensor &y) { check(latens_cast(d.get(), x.raw(), y.raw())); }
inline void add(const Device &d, const Tensor &x, const Tensor &y) { check(latens_add(d.get(), x.raw(), y.raw())); }
inline void scale(const Device &d, float factor, const Tensor &y) { check(latens_scale(d.get(), factor, y.raw())); }
inline void adamw(const Device &d, const Tensor &g, const LatensAdamW &settings, const Tensor &w, const Tensor &m, const Tensor &v) {
  check(latens_adamw(d.get(), g.raw(), &settings, w.raw(), m.raw(), v.raw()));
}
inline void decoder_step(const Device &d, const Tensor &g, const LatensAdamW &settings, const Tensor &w_dec, const Tensor &m, const Tensor &v) {
  check(latens_decoder_step(d.get(), g.raw(), &settings, w_dec.raw(), m.raw(), v.raw()));
}
inline void adamw8(const Device &d, const Tensor &g, const LatensAdamW &settings, std::size_t block, const Tensor &w, const Tensor &m,
                   const Tensor &v, const Tensor &scales) {
  check(latens_adamw8(d.get(), g.raw(), &settings, block, w.raw(), m.raw(), v.raw(), scales.raw()));
}
inline void signum(const Device &d, const Tensor &g, double lr, double beta, double weight_decay, const Tensor &w, const Tensor &m) {
  check(latens_signum(d.get(), g.raw(), lr, beta, weight_decay, w.raw(), m.raw()));
}
inline void clip_squares(const Device &d, const Tensor &g, LatensAccumulate accumulate, const Tensor &squares) {
  check(latens_clip_squares(d.get(), g.raw(), accumulate, squares.raw()));
}
inline void clip_scale(const Device &d, const Tensor &squares, float most, const Tensor &g) {
  check(latens_clip_scale(d.get(), squares.raw(), most, g.raw()));
}
inline std::size_t entropy_workspace(const Device &d, const Segments &segments, const LatensEntropy &settings) {
  std::size_t bytes = 0;
  check(latens_entropy_workspace(d.get(), segments.get(), &settings, &bytes));
  return bytes;
}
inline void entropy(const Device &d, const Tensor &x, const Segments &segments, const LatensEntropy &settings, const Tensor &values,
                    const Tensor &counts, const Tensor &workspace = none) {
  check(latens_entropy(d.get(), x.raw(), segments.get(), &settings, values.raw(), counts.raw(), workspace.raw()));
}
inline void quant(const Device &d, const Tensor &x, const LatensQuant &settings, const Tensor &error, const Tensor &codes,
                  const Tensor &scales, const Tensor &dropped) {
  check(latens_quant(d.get(), x.raw(), &settings, error.raw(), codes.raw(), scales.raw(), dropped.raw()));
}
inline void dequant(const Device &d, const Tensor &codes, const Tensor &scales, const LatensQuant &settings, const Tensor &y,
                    LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_dequant(d.get(), codes.raw(), scales.raw(), &settings, accumulate, y.raw()));
}
inline void quant_sum(const Device &d, const Tensor &rank_codes, const Tensor &rank_scales, std::size_t n, float factor,
                      const LatensQuant &settings, const Tensor &error, const Tensor &codes, const Tensor &scales, const Tensor &dropped) {
  check(latens_quant_sum(d.get(), rank_codes.raw(), rank_scales.raw(), n, factor, &settings, error.raw(), codes.raw(), scales.raw(),
                         dropped.raw()));
}
inline std::size_t quant_message(std::size_t n, const LatensQuant &settings) {
  std::size_t bytes = 0;
  check(latens_quant_message(n, &settings, &bytes));
  return bytes;
}
inline void quant_write(const Tensor &codes, const Tensor &scales, std::size_t n, const LatensQuant &settings, const Tensor &message) {
  check(latens_quant_write(codes.raw(), scales.raw(), n, &settings, message.raw()));
}
// How many numbers, and how they are packed.
inline std::pair<std::size_t, LatensQuant> quant_head(const Tensor &message) {
  std::pair<std::size_t, LatensQuant> head{};
  check(latens_quant_head(message.raw(), &head.first, &head.second));
  return head;
}
inline void quant_read(const Tensor &message, const Tensor &codes, const Tensor &scales) {
  check(latens_quant_read(message.raw(), codes.raw(), scales.raw()));
}
inline void sae_bias(const Device &d, const Tensor &w_enc, const Tensor &b_enc, const Tensor &b_dec, const Tensor &bias) {
  check(latens_sae_bias(d.get(), w_enc.raw(), b_enc.raw(), b_dec.raw(), bias.raw()));
}
inline std::size_t sae_encode_workspace(const Device &d, const Tensor &x, const Tensor &w_enc, std::size_t k) {
  std::size_t bytes = 0;
  check(latens_sae_encode_workspace(d.get(), x.raw(), w_enc.raw(), k, &bytes));
  return bytes;
}
inline void sae_encode(const Device &d, const Tensor &x, const Tensor &w_enc, const Tensor &bias, std::size_t k, const Tensor &values,
                       const Tensor &latents, const Tensor &workspace = none) {
  check(latens_sae_encode(d.get(), x.raw(), w_enc.raw(), bias.raw(), k, values.raw(), latents.raw(), workspace.raw()));
}
inline std::size_t sae_encode_subset_workspace(const Device &d, const Tensor &x, const Tensor &w_enc, std::size_t listed, std::size_t k) {
  std::size_t bytes = 0;
  check(latens_sae_encode_subset_workspace(d.get(), x.raw(), w_enc.raw(), listed, k, &bytes));
  return bytes;
}
inline void sae_encode_subset(const Device &d, const Tensor &x, const Tensor &w_enc, const Tensor &bias, const Tensor &subset,
                              const Tensor &count, std::size_t k, const Tensor &values, const Tensor &latents,
                              const Tensor &workspace = none) {
  check(latens_sae_encode_subset(d.get(), x.raw(), w_enc.raw(), bias.raw(), subset.raw(), count.raw(), k, values.raw(),
                                 latents.raw(), workspace.raw()));
}
inline std::size_t sae_encode_flat_workspace(const Device &d, const Tensor &x, const Tensor &w_enc, std::size_t total) {
  std::size_t bytes = 0;
  check(latens_sae_encode_flat_workspace(d.get(), x.raw(), w_enc.raw(), total, &bytes));
  return bytes;
}
inline void sae_encode_flat(const Device &d, const Tensor &x, const Tensor &w_enc, const Tensor &bias, std::size_t total,
                            const Tensor &values, const Tensor &latents, const Tensor &offsets, const Tensor &workspace = none) {
  check(latens_sae_encode_flat(d.get(), x.raw(), w_enc.raw(), bias.raw(), total, values.raw(), latents.raw(), offsets.raw(),
                               workspace.raw()));
}
inline std::size_t sae_encode_threshold_workspace(const Device &d, const Tensor &x, const Tensor &w_enc, std::size_t k) {
  std::size_t bytes = 0;
  check(latens_sae_encode_threshold_workspace(d.get(), x.raw(), w_enc.raw(), k, &bytes));
  return bytes;
}
inline void sae_encode_threshold(const Device &d, const Tensor &x, const Tensor &w_enc, const Tensor &bias, float threshold, std::size_t k,
                                 const Tensor &values, const Tensor &latents, const Tensor &counts, const Tensor &workspace = none) {
  check(latens_sae_encode_threshold(d.get(), x.raw(), w_enc.raw(), bias.raw(), threshold, k, values.raw(), latents.raw(),
                                    counts.raw(), workspace.raw()));
}
inline std::size_t sae_decode_workspace(const Device &d, const Tensor &latents, const Tensor &offsets, const Tensor &w_dec, bool against) {
  std::size_t bytes = 0;
  check(latens_sae_decode_workspace(d.get(), latents.raw(), offsets.raw(), w_dec.raw(), against, &bytes));
  return bytes;
}
inline void sae_decode(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, const Tensor &w_dec,
                       const Tensor &b_dec, const Tensor &x, const Tensor &recon, const Tensor &residual, const Tensor &error,
                       const Tensor &workspace = none) {
  check(latens_sae_decode(d.get(), values.raw(), latents.raw(), offsets.raw(), w_dec.raw(), b_dec.raw(), x.raw(), recon.raw(),
                          residual.raw(), error.raw(), workspace.raw()));
}
inline std::size_t sae_backward_workspace(const Device &d, const Tensor &latents, const Tensor &offsets, const Tensor &w_dec) {
  std::size_t bytes = 0;
  check(latens_sae_backward_workspace(d.get(), latents.raw(), offsets.raw(), w_dec.raw(), &bytes));
  return bytes;
}
inline void sae_backward(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, const Tensor &x,
                         const Tensor &g, const Tensor &w_dec, const Tensor &b_dec, LatensAccumulate accumulate, const Tensor &dw_dec,
                         const Tensor &dw_enc, const Tensor &db_enc, const Tensor &dvalues, const Tensor &workspace = none) {
  check(latens_sae_backward(d.get(), values.raw(), latents.raw(), offsets.raw(), x.raw(), g.raw(), w_dec.raw(), b_dec.raw(),
                            accumulate, dw_dec.raw(), dw_enc.raw(), db_enc.raw(), dvalues.raw(), workspace.raw()));
}
inline std::size_t sae_bias_backward_workspace(const Device &d, const Tensor &g, const Tensor &w_enc) {
  std::size_t bytes = 0;
  check(latens_sae_bias_backward_workspace(d.get(), g.raw(), w_enc.raw(), &bytes));
  return bytes;
}
inline void sae_bias_backward(const Device &d, const Tensor &g, const Tensor &w_enc, const Tensor &db_enc, LatensAccumulate accumulate,
                              const Tensor &db_dec, const Tensor &workspace = none) {
  check(latens_sae_bias_backward(d.get(), g.raw(), w_enc.raw(), db_enc.raw(), accumulate, db_dec.raw(), workspace.raw()));
}
inline void sae_gate(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, std::size_t n,
                     const Tensor &scale, const Tensor &shift, float floor, const Tensor &y) {
  check(latens_sae_gate(d.get(), values.raw(), latents.raw(), offsets.raw(), n, scale.raw(), shift.raw(), floor, y.raw()));
}
inline std::size_t sae_gate_backward_workspace(const Device &d, const Tensor &latents, const Tensor &offsets, std::size_t n) {
  std::size_t bytes = 0;
  check(latens_sae_gate_backward_workspace(d.get(), latents.raw(), offsets.raw(), n, &bytes));
  return bytes;
}
inline void sae_gate_backward(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, const Tensor &scale,
                              const Tensor &shift, const Tensor &weight, float floor, LatensPenalty penalty, float of, float by,
                              float step, const Tensor &slopes, const Tensor &sums, const Tensor &workspace = none) {
  check(latens_sae_gate_backward(d.get(), values.raw(), latents.raw(), offsets.raw(), scale.raw(), shift.raw(), weight.raw(), floor,
                                 penalty, of, by, step, slopes.raw(), sums.raw(), workspace.raw()));
}
inline void sae_slopes(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, const Tensor &g,
                       const Tensor &w_dec, const Tensor &slopes) {
  check(latens_sae_slopes(d.get(), values.raw(), latents.raw(), offsets.raw(), g.raw(), w_dec.raw(), slopes.raw()));
}
inline void sae_weights_backward(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, const Tensor &x,
                                 const Tensor &g, const Tensor &b_dec, const Tensor &dvalues, LatensAccumulate accumulate,
                                 const Tensor &dw_dec, const Tensor &dw_enc, const Tensor &db_enc, const Tensor &workspace = none) {
  check(latens_sae_weights_backward(d.get(), values.raw(), latents.raw(), offsets.raw(), x.raw(), g.raw(), b_dec.raw(), dvalues.raw(),
                                    accumulate, dw_dec.raw(), dw_enc.raw(), db_enc.raw(), workspace.raw()));
}
inline void sae_track(const Device &d, const Tensor &values, const Tensor &latents, const Tensor &offsets, std::uint32_t tokens,
                      float fired, const Tensor &since) {
  check(latens_sae_track(d.get(), values.raw(), latents.raw(), offsets.raw(), tokens, fired, since.raw()));
}
inline void sae_dead(const Device &d, const Tensor &since, std::uint32_t limit, const Tensor &list, const Tensor &count) {
  check(latens_sae_dead(d.get(), since.raw(), limit, list.raw(), count.raw()));
}
inline std::size_t sparsify_workspace(const Device &d, const Tensor &g, std::size_t k) {
  std::size_t bytes = 0;
  check(latens_sparsify_workspace(d.get(), g.raw(), k, &bytes));
  return bytes;
}
inline void sparsify(const Device &d, const Tensor &g, std::size_t k, const Tensor &e, const Tensor &values, const Tensor &indices,
                     const Tensor &counts, const Tensor &workspace = none) {
  check(latens_sparsify(d.get(), g.raw(), k, e.raw(), values.raw(), indices.raw(), counts.raw(), workspace.raw()));
}
inline void sparsify_sum(const Device &d, const Tensor &values, const Tensor &indices, float scale, const Tensor &y,
                         LatensAccumulate accumulate = LATENS_ACCUMULATE_REPLACE) {
  check(latens_sparsify_sum(d.get(), values.raw(), indices.raw(), scale, accumulate, y.raw()));
}
// An incidence: offsets, members and, where it was turned over, places; its columns are counted.
struct Incidence {
  const Tensor &offsets, &members, &places;
  std::size_t columns;
};
inline std::size_t hyper_incidence_workspace(const Device &d, std::size_t rows, std::size_t columns, std::size_t pairs) {
  std::size_t bytes = 0;
  check(latens_hyper_incidence_workspace(d.get(), rows, columns, pairs, &bytes));
  return bytes;
}
inline void hyper_incidence(const Device &d, const Tensor &rows, const Tensor &columns, const Tensor &weights, std::size_t row_count,
                    std::size_t column_count, const Tensor &offsets, const Tensor &members, const Tensor &merged,
                    const Tensor &workspace = none) {
  check(latens_hyper_incidence(d.get(), rows.raw(), columns.raw(), weights.raw(), row_count, column_count, offsets.raw(),
                    members.raw(), merged.raw(), workspace.raw()));
}
inline std::size_t hyper_transpose_workspace(const Device &d, std::size_t rows, std::size_t columns, std::size_t entries) {
  std::size_t bytes = 0;
  check(latens_hyper_transpose_workspace(d.get(), rows, columns, entries, &bytes));
  return bytes;
}
inline void hyper_transpose(const Device &d, const Tensor &offsets, const Tensor &members, std::size_t columns,
                    const Tensor &to_offsets, const Tensor &to_members, const Tensor &to_places, const Tensor &workspace = none) {
  check(latens_hyper_transpose(d.get(), offsets.raw(), members.raw(), columns, to_offsets.raw(), to_members.raw(), to_places.raw(),
                    workspace.raw()));
}
inline void hyper_degree(const Device &d, const Incidence &of, LatensDegree how, const Tensor &values, const Tensor &columns,
                    const Tensor &out) {
  check(latens_hyper_degree(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, how, values.raw(), columns.raw(),
                    out.raw()));
}
inline void hyper_weigh(const Device &d, const Incidence &of, LatensWeigh how, const Tensor &values, const Tensor &columns,
                    const Tensor &rows, const Tensor &a) {
  check(latens_hyper_weigh(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, how, values.raw(), columns.raw(),
                    rows.raw(), a.raw()));
}
inline void hyper_weigh_backward(const Device &d, const Incidence &of, LatensWeigh how, const Tensor &values, const Tensor &columns,
                    const Tensor &rows, const Tensor &da, const Tensor &dvalues) {
  check(latens_hyper_weigh_backward(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, how, values.raw(),
                    columns.raw(), rows.raw(), da.raw(), dvalues.raw()));
}
inline void hyper_pool(const Device &d, const Incidence &of, const Tensor &a, const Tensor &x, const Tensor &y) {
  check(latens_hyper_pool(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, a.raw(), x.raw(), y.raw()));
}
inline void hyper_largest(const Device &d, const Incidence &of, const Tensor &a, const Tensor &x, const Tensor &y, const Tensor &chosen) {
  check(latens_hyper_largest(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, a.raw(), x.raw(), y.raw(),
                    chosen.raw()));
}
inline void hyper_largest_backward(const Device &d, const Incidence &of, const Tensor &a, const Tensor &dy, const Tensor &chosen,
                    const Tensor &dx) {
  check(latens_hyper_largest_backward(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, a.raw(), dy.raw(),
                    chosen.raw(), dx.raw()));
}
inline void hyper_dots(const Device &d, const Incidence &of, const Tensor &dy, const Tensor &x, const Tensor &da) {
  check(latens_hyper_dots(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, dy.raw(), x.raw(), da.raw()));
}
inline void hyper_topk(const Device &d, const Incidence &of, const Tensor &scores, std::size_t k, const Tensor &values,
                    const Tensor &best) {
  check(latens_hyper_topk(d.get(), of.offsets.raw(), of.members.raw(), of.places.raw(), of.columns, scores.raw(), k, values.raw(),
                    best.raw()));
}
inline std::size_t hyper_rank_workspace(const Device &d, std::size_t edges, const Tensor &seeds) {
  std::size_t bytes = 0;
  check(latens_hyper_rank_workspace(d.get(), edges, seeds.raw(), &bytes));
  return bytes;
}
inline void hyper_rank(const Device &d, const Incidence &edges, const Incidence &vertices, const Tensor &weights, const Tensor &shares,
                    const Tensor &seeds, float damping, std::size_t steps, float tolerance, const Tensor &rank, const Tensor &change,
                    const Tensor &workspace = none) {
  check(latens_hyper_rank(d.get(), edges.offsets.raw(), edges.members.raw(), vertices.offsets.raw(), vertices.members.raw(),
                    vertices.places.raw(), weights.raw(), shares.raw(), seeds.raw(), damping, steps, tolerance, rank.raw(),
                    change.raw(), workspace.raw()));
}
inline std::size_t hyper_search_workspace(const Device &d, const Tensor &queries, const Tensor &corpus, std::size_t k) {
  std::size_t bytes = 0;
  check(latens_hyper_search_workspace(d.get(), queries.raw(), corpus.raw(), k, &bytes));
  return bytes;
}
inline void hyper_search(const Device &d, const Tensor &queries, const Tensor &corpus, std::size_t k, const Tensor &values,
                    const Tensor &ids, const Tensor &workspace = none) {
  check(latens_hyper_search(d.get(), queries.raw(), corpus.raw(), k, values.raw(), ids.raw(), workspace.raw()));
}
inline void hyper_compress(const Device &d, const Tensor &corpus, const Tensor &codes, const Tensor &bounds) {
  check(latens_hyper_compress(d.get(), corpus.raw(), codes.raw(), bounds.raw()));
}
inline std::size_t hyper_search_compressed_workspace(const Device &d, const Tensor &queries, const Tensor &corpus, std::size_t k,
                    std::size_t candidates) {
  std::size_t bytes = 0;
  check(latens_hyper_search_compressed_workspace(d.get(), queries.raw(), corpus.raw(), k, candidates, &bytes));
  return bytes;
}
inline void hyper_search_compressed(const Device &d, const Tensor &queries, const Tensor &corpus, const Tensor &codes,
                    const Tensor &bounds, std::size_t k, std::size_t candidates, const Tensor &values, const Tensor &ids,
                    const Tensor &complete, const Tensor &workspace = none) {
  check(latens_hyper_search_compressed(d.get(), queries.raw(), corpus.raw(), codes.raw(), bounds.raw(), k, candidates, values.raw(),
                    ids.raw(), complete.raw(), workspace.raw()));
}
inline void lowrank_left(const Device &d, const Segments &table, const Tensor &g, const Tensor &q, const Tensor &e, const Tensor &p,
                         const Tensor &dropped) {
  check(latens_lowrank_left(d.get(), table.get(), g.raw(), q.raw(), e.raw(), p.raw(), dropped.raw()));
}
inline std::size_t lowrank_orthogonalise_workspace(const Device &d, const Segments &table, std::size_t rank) {
  std::size_t bytes = 0;
  check(latens_lowrank_orthogonalise_workspace(d.get(), table.get(), rank, &bytes));
  return bytes;
}
inline void lowrank_orthogonalise(const Device &d, const Segments &table, std::uint64_t seed, const Tensor &p,
                                  const Tensor &workspace = none) {
  check(latens_lowrank_orthogonalise(d.get(), table.get(), seed, p.raw(), workspace.raw()));
}
inline void lowrank_right(const Device &d, const Segments &table, const Tensor &e, const Tensor &p, const Tensor &q) {
  check(latens_lowrank_right(d.get(), table.get(), e.raw(), p.raw(), q.raw()));
}
inline void lowrank_restore(const Device &d, const Segments &table, const Tensor &p, const Tensor &q, const Tensor &e,
                            const Tensor &y) {
  check(latens_lowrank_restore(d.get(), table.get(), p.raw(), q.raw(), e.raw(), y.raw()));
}
inline void lowrank_resize(const Device &d, const Segments &table, const Tensor &from, std::uint64_t seed, const Tensor &q) {
  check(latens_lowrank_resize(d.get(), table.get(), from.raw(), seed, q.raw()));
}
inline void lowrank_quantise(const Device &d, const Tensor &p, const LatensQuant &settings, const Tensor &codes,
                             const Tensor &scales, const Tensor &dropped) {
  check(latens_lowrank_quantise(d.get(), p.raw(), &settings, codes.raw(), scales.raw(), dropped.raw()));
}
inline void lowrank_sum(const Device &d, const Tensor &codes, const Tensor &scales, float scale, const LatensQuant &settings,
                        const Tensor &p) {
  check(latens_lowrank_sum(d.get(), codes.raw(), scales.raw(), scale, &settings, p.raw()));
}

// A sparse autoencoder to be used, read from a checkpoint or just trained.
class Autoencoder {
public:
  Autoencoder(const Device &device, const std::string &path) {
    LatensAutoencoder *handle = nullptr;
    check(latens_autoencoder_open(device.get(), path.c_str(), &handle));
    handle_.reset(handle);
  }
  std::size_t latents() const { return size().first; }
  std::size_t dim() const { return size().second; }
  void encode(const Tensor &x, const Tensor &values, const Tensor &latents) const {
    check(latens_autoencoder_encode(handle_.get(), x.raw(), values.raw(), latents.raw()));
  }
  void decode(const Tensor &values, const Tensor &latents, const Tensor &y) const {
    check(latens_autoencoder_decode(handle_.get(), values.raw(), latents.raw(), y.raw()));
  }
  void reconstruct(const Tensor &x, const Tensor &y) const {
    check(latens_autoencoder_reconstruct(handle_.get(), x.raw(), y.raw()));
  }
  void save(const std::string &folder, LatensSaeFormat format = LATENS_SAE_FORMAT_SAE_LENS) const {
    check(latens_autoencoder_save(handle_.get(), folder.c_str(), format));
  }
  // The same with where the activations came from, as JSON.
  void save(const std::string &folder, LatensSaeFormat format, const std::string &origin) const {
    check(latens_autoencoder_save_as(handle_.get(), folder.c_str(), format, origin.c_str()));
  }
  LatensAutoencoder *get() const { return handle_.get(); }

private:
  friend class SaeTrainer;
  explicit Autoencoder(LatensAutoencoder *handle) : handle_(handle) {}
  std::pair<std::size_t, std::size_t> size() const {
    std::size_t latents = 0, dim = 0;
    check(latens_autoencoder_size(handle_.get(), &latents, &dim));
    return {latents, dim};
  }
  struct Free {
    void operator()(LatensAutoencoder *handle) const { latens_autoencoder_free(handle); }
  };
  std::unique_ptr<LatensAutoencoder, Free> handle_;
};

// A direction that stands for a concept, read from what the library saved.
class Vector {
public:
  Vector(const Device &device, const std::string &path) {
    LatensVector *handle = nullptr;
    check(latens_vector_open(device.get(), path.c_str(), &handle));
    handle_.reset(handle);
  }
  std::size_t dim() const { return size().dim; }
  std::size_t layer() const { return size().layer; }
  float typical() const { return size().typical; }
  // Throws where it was made for another model (the SHA-256 of its weights) or place; an empty text is not looked at.
  void check_for(const std::string &model, const std::string &site = "") const {
    const auto text = [](const std::string &of) { return of.empty() ? nullptr : of.c_str(); };
    check(latens_vector_check(handle_.get(), text(model), text(site)));
  }
  // x += strength * vector, in every row.
  void add(float strength, const Tensor &x) const { check(latens_vector_add(handle_.get(), strength, x.raw())); }
  // Another strength in each row.
  void add(const Tensor &strengths, const Tensor &x) const {
    check(latens_vector_add_each(handle_.get(), strengths.raw(), x.raw()));
  }
  LatensVector *get() const { return handle_.get(); }

private:
  struct Size {
    std::size_t dim = 0, layer = 0;
    float typical = 0;
  };
  Size size() const {
    Size size;
    check(latens_vector_size(handle_.get(), &size.dim, &size.layer, &size.typical));
    return size;
  }
  struct Free {
    void operator()(LatensVector *handle) const { latens_vector_free(handle); }
  };
  std::unique_ptr<LatensVector, Free> handle_;
};

// A sparse autoencoder in training.
class SaeTrainer {
public:
  static LatensSaeSettings defaults(std::size_t dim, std::size_t latents, std::size_t k, std::size_t steps) {
    LatensSaeSettings settings{};
    check(latens_sae_defaults(dim, latents, k, steps, &settings));
    return settings;
  }
  SaeTrainer(const Device &device, const Tensor &sample, const LatensSaeSettings &settings) {
    LatensSaeTrainer *handle = nullptr;
    check(latens_sae_trainer_new(device.get(), sample.raw(), &settings, &handle));
    handle_.reset(handle);
  }
  // Every kind of autoencoder, from settings as JSON; for a transcoder also what is to be predicted.
  SaeTrainer(const Device &device, const Tensor &sample, const std::string &settings, const Tensor *predicted = nullptr) {
    LatensSaeTrainer *handle = nullptr;
    check(predicted ? latens_sae_trainer_configure(device.get(), sample.raw(), predicted->raw(), settings.c_str(), &handle)
                    : latens_sae_trainer_configure(device.get(), sample.raw(), nullptr, settings.c_str(), &handle));
    handle_.reset(handle);
  }
  // Goes on from what save_state wrote.
  static SaeTrainer resume(const Device &device, const std::string &path) { return go_on(device, path.c_str(), nullptr); }
  // The same, but only a run with these settings.
  static SaeTrainer resume(const Device &device, const std::string &path, const std::string &settings) {
    return go_on(device, path.c_str(), settings.c_str());
  }
  void step_to(const Tensor &x, const Tensor &y) { check(latens_sae_trainer_step_to(handle_.get(), x.raw(), y.raw())); }
  void step(const Tensor &x) { check(latens_sae_trainer_step(handle_.get(), x.raw())); }
  // A step on another loss: `loss(recon, batch, dim, gradient)` gives it and writes the gradient, both [batch, dim] on the host. What it throws
  // comes out of here, and all is as before then.
  template <class Loss> void step_through(const Tensor &x, float squares, Loss &&loss) {
    struct Call {
      Loss &loss;
      std::exception_ptr thrown;
    } call{loss, nullptr};
    const auto run = [](void *context, const float *recon, std::size_t batch, std::size_t dim, double *lost, float *gradient) -> std::int32_t {
      Call &call = *static_cast<Call *>(context);
      try {
        *lost = call.loss(recon, batch, dim, gradient);
        return 0;
      } catch (...) {
        call.thrown = std::current_exception();
        return 1;
      }
    };
    const LatensStatus status = latens_sae_trainer_step_through(handle_.get(), x.raw(), squares, run, &call);
    if (call.thrown) std::rethrow_exception(call.thrown);
    check(status);
  }
  LatensSaeMetrics metrics() const {
    LatensSaeMetrics metrics{};
    check(latens_sae_trainer_metrics(handle_.get(), &metrics));
    return metrics;
  }
  void save(const std::string &folder, LatensSaeFormat format = LATENS_SAE_FORMAT_SAE_LENS) const {
    check(latens_sae_trainer_save(handle_.get(), folder.c_str(), format));
  }
  // The same with where the activations came from, as JSON.
  void save(const std::string &folder, LatensSaeFormat format, const std::string &origin) const {
    check(latens_sae_trainer_save_as(handle_.get(), folder.c_str(), format, origin.c_str()));
  }
  void save_state(const std::string &path) const { check(latens_sae_trainer_save_state(handle_.get(), path.c_str())); }
  // What training would give now.
  Autoencoder snapshot() const {
    LatensAutoencoder *handle = nullptr;
    check(latens_sae_trainer_snapshot(handle_.get(), &handle));
    return Autoencoder(handle);
  }
  LatensSaeTrainer *get() const { return handle_.get(); }

private:
  explicit SaeTrainer(LatensSaeTrainer *handle) : handle_(handle) {}
  static SaeTrainer go_on(const Device &device, const char *path, const char *settings) {
    LatensSaeTrainer *handle = nullptr;
    check(latens_sae_trainer_resume(device.get(), path, settings, &handle));
    return SaeTrainer(handle);
  }
  struct Free {
    void operator()(LatensSaeTrainer *handle) const { latens_sae_trainer_free(handle); }
  };
  std::unique_ptr<LatensSaeTrainer, Free> handle_;
};

} // namespace latens
#endif
