// What the C++ programs share.
#include "latens.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace {

using latens::Device;
using latens::none;
using latens::Tensor;
using Floats = std::vector<float>;
using Numbers = std::vector<std::uint32_t>;

const Device host;

template <class T> void same(int line, const std::vector<T> &got, const std::vector<T> &want) {
  bool equal = got.size() == want.size();
  for (std::size_t i = 0; equal && i < got.size(); i++)
    equal = std::fabs(double(got[i]) - double(want[i])) <= 1e-5 * (1 + std::fabs(double(want[i])));
  if (equal) return;
  std::printf("line %d:", line);
  for (T x : got) std::printf(" %g", double(x));
  std::printf(", expected");
  for (T x : want) std::printf(" %g", double(x));
  std::printf("\n");
  std::exit(1);
}
#define SAME(got, ...) same(__LINE__, got, {__VA_ARGS__})

// Scratch memory of so many bytes.
struct Scratch {
  explicit Scratch(std::size_t size) : bytes(size) {}
  operator Tensor() { return bytes.empty() ? none : Tensor(bytes); }
  std::vector<std::uint8_t> bytes;
};

} // namespace
