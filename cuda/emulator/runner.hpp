// What runs one block: a fiber takes thread after thread until one has to wait; then a thread that can go on is resumed,
// else a new fiber takes the next thread. When nothing can go on, the block has hung and says why.
#pragma once
#include "fiber.hpp"
#include "sim.hpp"

namespace sim {

// Lanes that wait in a warp operation, and those that have returned.
struct Warp {
  uint32_t ready, waiting, returned;
  uint32_t masks[32];
  void* arguments[32];
};

// Everything about the block that runs on this thread of the machine.
struct Runner {
  Block block;
  const Entry* entry;
  void** arguments;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<int> start;          // threads in the order in which they begin
  int started, live;               // of them: begun; not yet returned
  const char* barrier;             // the block operation that threads wait in, or null
  int at_barrier;
  std::vector<void*> brought;      // to the barrier, by thread
  Stacks stacks;
  void* home;                      // the stack pointer of the machine's own thread
  uint32_t random;
  std::string fault;

  bool run(unsigned threads);
  void reset();
  void resume_other(void** save, Thread* waiting = nullptr);
  void leave_barrier();
  void finish_warp(int warp, uint32_t mask);
  void thread_returned();
  uint32_t draw() { return (random = random * 1664525u + 1013904223u) >> 8; }
  int choose(uint32_t set);
  [[noreturn]] void fail(const char* format, ...);
};

// A number of the environment.
int number_of(const char* name, int otherwise);

}  // namespace sim
