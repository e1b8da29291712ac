// Memory of the device: allocations, copies, and checks that a copy stays in one allocation.
#include <cstdlib>
#include <map>
#include "driver.hpp"

using namespace driver;

namespace {

std::map<Address, size_t> allocations;  // address and length
size_t used;

// Whether `count` bytes from `at` on lie in one allocation.
bool allocated(Address at, size_t count) {
  std::lock_guard<std::mutex> hold(lock);
  auto next = allocations.upper_bound(at);
  if (next == allocations.begin()) return count == 0;
  auto [begin, length] = *--next;
  return count == 0 || (at - begin <= length && count <= length - (at - begin));
}

Code copy(void* to, const void* from, size_t count, void* stream) {
  return enqueue(stream, [=] { memmove(to, from, count); return SUCCESS; });
}

}  // namespace

API cuMemAlloc_v2(Address* address, size_t count) {
  if (failed) return failed;
  if (!count) return INVALID_VALUE;
  std::lock_guard<std::mutex> hold(lock);
  void* memory;
  // Exactly as long as asked for, so that the address sanitizer sees the end.
  if (count > MEMORY - used || posix_memalign(&memory, 256, count)) return OUT_OF_MEMORY;
  memset(memory, 0xff, count);  // a float read before it is written is NaN
  *address = Address(memory);
  allocations[*address] = count;
  used += count;
  return SUCCESS;
}
API cuMemFree_v2(Address address) {
  std::lock_guard<std::mutex> hold(lock);
  auto found = allocations.find(address);
  if (found == allocations.end()) return INVALID_VALUE;
  used -= found->second;
  free(reinterpret_cast<void*>(address));
  allocations.erase(found);
  return SUCCESS;
}
API cuMemAllocAsync(Address* address, size_t count, void* stream) {
  if (!pools()) return INVALID_VALUE;
  Code code = settled(stream);
  return code ? code : cuMemAlloc_v2(address, count);
}
SAME_AS(cuMemFreeAsync, (Address address, void*), (address), cuMemFree_v2)
SAME_AS(cuMemAllocManaged, (Address* address, size_t count, unsigned), (address, count), cuMemAlloc_v2)
API cuDeviceGetDefaultMemPool(void** pool, int) { *pool = CONTEXT; return pools() ? SUCCESS : INVALID_VALUE; }
API cuMemPoolSetAttribute(void*, int, void*) { return SUCCESS; }
API cuMemHostAlloc(void** memory, size_t count, unsigned) { *memory = malloc(count); return SUCCESS; }
API cuMemFreeHost(void* memory) { free(memory); return SUCCESS; }
API cuMemGetInfo_v2(size_t* left, size_t* total) {
  std::lock_guard<std::mutex> hold(lock);
  *left = MEMORY - used;
  *total = MEMORY;
  return SUCCESS;
}
API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t count, void* stream) {
  return allocated(to, count) ? copy(reinterpret_cast<void*>(to), from, count, stream) : INVALID_VALUE;
}
API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t count, void* stream) {
  return allocated(from, count) ? copy(to, reinterpret_cast<void*>(from), count, stream) : INVALID_VALUE;
}
API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t count, void* stream) {
  if (!allocated(to, count) || !allocated(from, count)) return INVALID_VALUE;
  return copy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), count, stream);
}
API cuMemsetD8Async(Address to, unsigned char value, size_t count, void* stream) {
  if (!allocated(to, count)) return INVALID_VALUE;
  return enqueue(stream, [=] { memset(reinterpret_cast<void*>(to), value, count); return SUCCESS; });
}
SAME_AS(cuMemcpyHtoD_v2, (Address to, const void* from, size_t count), (to, from, count, nullptr), cuMemcpyHtoDAsync_v2)
SAME_AS(cuMemcpyDtoH_v2, (void* to, Address from, size_t count), (to, from, count, nullptr), cuMemcpyDtoHAsync_v2)
SAME_AS(cuMemcpyDtoD_v2, (Address to, Address from, size_t count), (to, from, count, nullptr), cuMemcpyDtoDAsync_v2)
SAME_AS(cuMemsetD8_v2, (Address to, unsigned char value, size_t count), (to, value, count, nullptr), cuMemsetD8Async)
