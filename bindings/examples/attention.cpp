// An attention layer forward and backward on memory of this program, and its gradients checked by finite differences.
//
//   y = attention(turn(x wq'), turn(x wk'), x wv') wo',   grouped queries, causal, two contexts
//
// In double precision, which latens has on the host for just this: a slope agrees with its difference to eight digits.
#include <latens.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

namespace {

using latens::Tensor;
using latens::none;
using Numbers = std::vector<double>;

constexpr std::size_t batch = 2, len = 5, heads = 4, kv_heads = 2, dim = 6, width = 16, rows = batch * len;
constexpr std::size_t all = heads + 2 * kv_heads, turned = heads + kv_heads;
constexpr double base = 10000;
const float scale = 1 / std::sqrt(static_cast<float>(dim));

const latens::Device host;

Numbers draw(std::size_t count, std::mt19937 &random) {
  std::normal_distribution<double> normal(0, 0.5);
  Numbers numbers(count);
  for (double &x : numbers) x = normal(random);
  return numbers;
}

// The weights of the layer, or their gradients: queries, keys and values one above another, and the way out.
struct Layer {
  Numbers in, out;
  Tensor in_view() { return Tensor(in, {all * dim, width}); }
  Tensor out_view() { return Tensor(out, {width, heads * dim}); }
};

// What the way back needs of the way there.
struct Saved {
  Numbers qkv = Numbers(rows * all * dim), found = Numbers(rows * heads * dim), lse = Numbers(rows * heads);
  std::vector<std::uint32_t> positions = std::vector<std::uint32_t>(rows);

  Saved() {
    for (std::size_t row = 0; row < rows; row++) positions[row] = static_cast<std::uint32_t>(row % len);
  }
  // Some heads of an array [rows, all, dim], as [batch, len, count, dim].
  static Tensor part(Numbers &of, std::size_t first, std::size_t count) {
    return Tensor(of.data() + first * dim, {batch, len, count, dim}).strided({len * all * dim, all * dim, dim, 1});
  }
  // Queries and keys, as what is turned.
  static Tensor turns(Numbers &of) { return Tensor(of.data(), {rows, turned, dim}).strided({all * dim, dim, 1}); }
  Tensor found_view() { return Tensor(found, {batch, len, heads, dim}); }
  Tensor lse_view() { return Tensor(lse, {batch, len, heads}); }
};

void forward(Numbers &x, Layer &layer, Saved &s, Numbers &y) {
  latens::linear(host, Tensor(x, {rows, width}), layer.in_view(), none, Tensor(s.qkv, {rows, all * dim}));
  latens::rope(host, Tensor(s.positions), base, LATENS_PAIRING_HALVES, Saved::turns(s.qkv));
  latens::attention(host, Saved::part(s.qkv, 0, heads), Saved::part(s.qkv, heads, kv_heads), Saved::part(s.qkv, turned, kv_heads), scale, 1,
                    s.found_view(), s.lse_view());
  latens::linear(host, Tensor(s.found, {rows, heads * dim}), layer.out_view(), none, Tensor(y, {rows, width}));
}

void backward(Numbers &x, Layer &layer, Saved &s, Numbers &dy, Numbers &dx, Layer &gradient) {
  const std::size_t keys = rows * kv_heads * dim;
  Numbers dfound(s.found.size()), dq(rows * heads * dim), dk(keys), dv(keys), dqkv(s.qkv.size());
  latens::linear_backward(host, Tensor(s.found, {rows, heads * dim}), layer.out_view(), Tensor(dy, {rows, width}),
                          Tensor(dfound, {rows, heads * dim}), gradient.out_view(), none);
  Tensor q = Saved::part(s.qkv, 0, heads), k = Saved::part(s.qkv, heads, kv_heads), v = Saved::part(s.qkv, turned, kv_heads);
  std::vector<std::uint8_t> workspace(latens::attention_backward_workspace(host, q, k, v) + 1);
  latens::attention_backward(host, q, k, v, scale, 1, s.found_view(), s.lse_view(), Tensor(dfound, {batch, len, heads, dim}),
                             Tensor(dq, {batch, len, heads, dim}), Tensor(dk, {batch, len, kv_heads, dim}), Tensor(dv, {batch, len, kv_heads, dim}),
                             Tensor(workspace));
  // Side by side again, as the product made them.
  for (std::size_t row = 0; row < rows; row++) {
    double *to = &dqkv[row * all * dim];
    to = std::copy_n(&dq[row * heads * dim], heads * dim, to);
    to = std::copy_n(&dk[row * kv_heads * dim], kv_heads * dim, to);
    std::copy_n(&dv[row * kv_heads * dim], kv_heads * dim, to);
  }
  latens::rope_backward(host, Tensor(s.positions), base, LATENS_PAIRING_HALVES, Saved::turns(dqkv));
  latens::linear_backward(host, Tensor(x, {rows, width}), layer.in_view(), Tensor(dqkv, {rows, all * dim}), Tensor(dx, {rows, width}),
                          gradient.in_view(), none);
}

} // namespace

int main() {
  try {
    std::mt19937 random(1);
    Numbers x = draw(rows * width, random), dy = draw(rows * width, random);
    Layer layer{draw(all * dim * width, random), draw(width * heads * dim, random)};
    Layer gradient{Numbers(layer.in.size()), Numbers(layer.out.size())};
    Numbers dx(x.size());
    // Sums of y by dy: what the gradients are of.
    auto loss = [&] {
      Saved saved;
      Numbers y(rows * width);
      forward(x, layer, saved, y);
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); i++) sum += y[i] * dy[i];
      return sum;
    };
    Saved saved;
    Numbers y(rows * width);
    forward(x, layer, saved, y);
    backward(x, layer, saved, dy, dx, gradient);

    struct { const char *name; Numbers &of, &slopes; } checked[] = {{"x", x, dx}, {"in", layer.in, gradient.in}, {"out", layer.out, gradient.out}};
    for (auto &[name, of, slopes] : checked) {
      double error = 0, size = 0;
      for (std::size_t i = 0; i < of.size(); i++) {
        const double at = of[i], step = 1e-5;
        of[i] = at + step;
        const double above = loss();
        of[i] = at - step;
        const double below = loss();
        of[i] = at;
        error += std::pow((above - below) / (2 * step) - slopes[i], 2), size += slopes[i] * slopes[i];
      }
      const double off = std::sqrt(error / size);
      std::printf("%-3s %4zu slopes, off by %.1e of their size\n", name, of.size(), off);
      if (!(size > 0 && off < 1e-8)) return 1;
    }
    return 0;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
