// Stacks to run device threads on, and the switch between them. About 10 ns a switch, which is why it is not ucontext.
#pragma once
#include <sys/mman.h>
#include <cstdio>
#include <cstdlib>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#if !defined(__x86_64__)
#error "the emulator's switch between fibers is written for x86-64 only"
#endif

// Save the running fiber's registers on its stack and its stack pointer in *save; continue the fiber at `load`.
extern "C" void latens_switch(void** save, void* load);

namespace sim {

// Stacks are reused; what an abandoned fiber left on its stack is never unwound.
class Stacks {
  static constexpr size_t SIZE = 128 << 10, GUARD = 4096;
  std::vector<char*> all_, free_;

 public:
  // The stack pointer of a fiber that will begin in `entry`, which never returns.
  void* begin(void (*entry)()) {
    char* stack = take();
    running_.push_back(stack);
    void** top = reinterpret_cast<void**>(stack + SIZE);
    *--top = nullptr;  // no one to return to
    *--top = reinterpret_cast<void*>(entry);
    for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
    return top;
  }

  // The fiber begun last, seen from its first line.
  char* mine() const { return running_.back(); }

  // The fiber on `stack` is about to switch away for good.
  void give_back(char* stack) { free_.push_back(stack); }

  // No fiber runs any more.
  void reset() {
    if (free_.size() < all_.size())
      for (char* stack : all_) clean(stack, SIZE);
    free_ = all_;
    running_.clear();
  }

 private:
  std::vector<char*> running_;

  char* take() {
    char* stack;
    if (free_.empty()) {
      int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
      void* map = mmap(nullptr, GUARD + SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
      if (map == MAP_FAILED) {
        perror("emulator: no memory for a stack");
        abort();
      }
      mprotect(map, GUARD, PROT_NONE);
      stack = static_cast<char*>(map) + GUARD;
      all_.push_back(stack);
    } else {
      stack = free_.back();
      free_.pop_back();
    }
    clean(stack + SIZE - FIRST, FIRST);
    return stack;
  }

  // Functions that return take their marks from a stack; of those that do not, one that is given back has the first only.
  static constexpr size_t FIRST = 4096;
  static void clean(char* from, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(from, size);
#else
    (void)from, (void)size;
#endif
  }
};

}  // namespace sim
