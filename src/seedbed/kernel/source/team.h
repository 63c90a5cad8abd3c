// Threads that share the work of an operation.
//
// Threads take work in pieces, and wait for work rather than for each other: one that the system has put aside (others
// use the processor too) holds up no more than the piece it has. Who does what changes no bit.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include "vectors.h"

namespace {

constexpr int PATIENCE = 1000;  // looks at work that another thread does before the processor is offered to others

struct alignas(64) Phase {  // of the work between two barriers: how much is taken, and how much is done
  std::atomic<int64_t> next{0}, done{0}, total{0};
};

struct Team {
  int id, size;
  Phase *phases;
  mutable int entered = 0, awaited = 0;

  // Calls work(from, to) until all of ``total`` is taken, in ``pieces`` for each thread.
  template <class Work>
  void each(int64_t total, int64_t pieces, Work work) const {
    Phase &phase = phases[entered++];
    const int64_t piece = (total + pieces * size - 1) / (pieces * size);
    phase.total.store(total, std::memory_order_relaxed);
    for (int64_t from; (from = phase.next.fetch_add(piece, std::memory_order_relaxed)) < total;) {
      const int64_t to = std::min(from + piece, total);
      work(from, to);
      phase.done.fetch_add(to - from, std::memory_order_release);
    }
  }

  void barrier() const {
    for (; awaited < entered; awaited++) {
      const Phase &phase = phases[awaited];
      for (int turns = 0; phase.done.load(std::memory_order_acquire) < phase.total.load(std::memory_order_relaxed); turns++)
        if (turns < PATIENCE) rest();
        else std::this_thread::yield();
    }
  }

  static void rest() {
#ifdef SEEDBED_VNNI
    _mm_pause();
#endif
  }
};

}  // namespace
