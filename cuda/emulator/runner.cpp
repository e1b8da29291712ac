// The order of threads: LATENS_EMULATOR_ORDER is 0 for ascending, 1 for descending, any other for a random one of that
// seed.
#include "runner.hpp"
#include <atomic>
#include <cstdarg>
#include <thread>

asm(R"(
.text
.globl latens_switch
.hidden latens_switch
.type latens_switch,@function
latens_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace sim {

thread_local Here here;

int number_of(const char* name, int otherwise) {
  const char* value = getenv(name);
  return value ? atoi(value) : otherwise;
}
static std::atomic<int> order{number_of("LATENS_EMULATOR_ORDER", 0)};
void set_order(int to) { order = to; }

static void run_threads();

// One of the lanes in `set`.
int Runner::choose(uint32_t set) {
  if (order == 0) return __builtin_ctz(set);
  if (order == 1) return 31 - __builtin_clz(set);
  int shift = draw() % 32;
  uint32_t turned = shift ? set >> shift | set << (32 - shift) : set;
  return (__builtin_ctz(turned) + shift) % 32;
}

// Leave the running fiber, whose stack pointer goes to *save, for one that can go on. A thread that is `waiting` for
// memory to change stays ready: it steps behind the others, those that have not begun first.
void Runner::resume_other(void** save, Thread* waiting) {
  int count = block.warps, first = waiting ? here.thread->warp + 1 : here.thread ? here.thread->warp : 0;
  if (order > 1) first = draw() % count;
  auto keep = [&] {
    if (waiting) warps[waiting->warp].ready |= 1u << waiting->lane;
  };
  for (int i = 0; i < count && !(waiting && started < block.threads); ++i) {
    int warp = (first + i) % count;
    if (!warps[warp].ready) continue;
    int lane = choose(warps[warp].ready);
    warps[warp].ready &= ~(1u << lane);
    keep();
    here.thread = &threads[warp * 32 + lane];
    return latens_switch(save, here.thread->stack_pointer);
  }
  if (started < block.threads) {
    keep();
    return latens_switch(save, stacks.begin(run_threads));
  }
  if (waiting) return std::this_thread::yield();  // only another block can change what it waits for
  if (live == 0) return latens_switch(save, home);
  fail("threads wait for each other");
}

// Give up on the block: say what its threads wait for, and return to the machine's own stack.
void Runner::fail(const char* format, ...) {
  char what[200], where[400];
  va_list values;
  va_start(values, format);
  vsnprintf(what, sizeof what, format, values);
  va_end(values);
  snprintf(where, sizeof where, "emulator: %s, in %s, block (%u,%u,%u) of %d threads, %d returned", what, entry->name,
           block.index.x, block.index.y, block.index.z, block.threads, block.threads - live);
  fault = where;
  // Runs of threads that wait in the same operation.
  for (int i = 0; i < block.threads && fault.size() < 300;) {
    int from = i;
    const char* operation = threads[from].operation;
    while (i < block.threads && threads[i].operation == operation) ++i;
    if (operation)
      fault += "; " + std::to_string(from) + ".." + std::to_string(i - 1) + " wait in " + operation;
  }
  void* never;
  latens_switch(&never, home);
  abort();
}

void Runner::leave_barrier() {
  for (int i = 0; i < block.threads; ++i)
    if (threads[i].operation == barrier) {
      threads[i].operation = nullptr;
      warps[i / 32].ready |= 1u << i % 32;
    }
  barrier = nullptr;
  at_barrier = 0;
}

// The lanes of `mask` have met, and go on.
void Runner::finish_warp(int w, uint32_t mask) {
  Warp& warp = warps[w];
  warp.waiting &= ~mask;
  warp.ready |= mask;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) threads[w * 32 + lane].operation = nullptr;
}

// A barrier waits for those only that have not returned. A warp operation must not name a lane that has: what it would
// read there is undefined.
void Runner::thread_returned() {
  const Thread* me = here.thread;
  Warp& warp = warps[me->warp];
  warp.returned |= 1u << me->lane;
  --live;
  for (int lane = 0; lane < 32; ++lane)
    if (warp.waiting >> lane & 1 && warp.masks[lane] >> me->lane & 1)
      fail("lane %d returned, and lane %d names it in %s", me->lane, lane, threads[me->warp * 32 + lane].operation);
  if (live && at_barrier == live) leave_barrier();
}

// The body of a fiber: threads, one after the other, until none is left to begin.
static void run_threads() {
  Runner& r = *here.runner;
  char* stack = r.stacks.mine();
  while (r.started < r.block.threads) {
    Thread* me = &r.threads[r.start[r.started++]];
    here.thread = me;
    r.entry->call(r.entry->function, r.arguments);
    here.thread = me;
    r.thread_returned();
  }
  r.stacks.give_back(stack);  // taken by nobody before the switch below
  void* never;
  r.resume_other(&never);
  abort();
}

void Runner::reset() {
  dim3 size = block.size;
  if (int(threads.size()) < block.threads) threads.resize(block.threads);
  warps.assign(block.warps, Warp{});
  brought.resize(block.threads);
  start.resize(block.threads);
  random = order * 7919u + block.index.x;
  for (int i = 0; i < block.threads; ++i) start[i] = order == 1 ? block.threads - 1 - i : i;
  if (order > 1)
    for (int i = block.threads - 1; i > 0; --i) std::swap(start[i], start[draw() % (i + 1)]);
  for (int i = 0; i < block.threads; ++i) {
    unsigned t = i;
    threads[i].index = {t % size.x, t / size.x % size.y, t / size.x / size.y};
    threads[i].warp = i / 32;
    threads[i].lane = i % 32;
    threads[i].operation = nullptr;
    threads[i].copies.clear();
    threads[i].group = 0;
  }
  started = at_barrier = 0;
  live = block.threads;
  barrier = nullptr;
  here.thread = nullptr;
  fault.clear();
  stacks.reset();
}

// One block, from its first thread to its last; false if it failed.
bool Runner::run(unsigned shared_bytes) {
  reset();
  here.block = &block;
  if (shared_bytes) memset(block.shared, 0xff, shared_bytes);  // a float read before it is written is NaN
  resume_other(&home);
  return fault.empty();
}

}  // namespace sim
