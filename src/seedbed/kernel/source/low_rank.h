// Low-rank additions (LoRA) to the linear layer before, row by row.
#pragma once

#include <cstdint>
#include "layout.h"
#include "team.h"

namespace {

// Low-rank additions (LoRA): out += scale * up (down in), for rows that have an adapter.
void adapt(const Op &op, const Batch &batch, int rows, const Team &team) {
  const int32_t *chose = op.routes ? op.routes->row + op.expert * op.routes->rows : nullptr;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const int adapter = batch.adapter[chose ? chose[row] : row];
      if (adapter < 0) continue;
      const Adapter &a = op.adapters[adapter];
      const float *x = op.source + row * op.in_stride;
      float *out = op.target + row * op.out_stride;
      for (int r = 0; r < a.rank; r++) {
        float narrow = 0;
        for (int i = 0; i < op.k; i++) narrow += a.down[(int64_t)r * op.k + i] * x[i];
        narrow *= a.scale;
        for (int i = 0; i < op.n; i++) out[i] += narrow * a.up[(int64_t)i * a.rank + r];
      }
    }
  });
}

}  // namespace
