// Mixture of experts: which rows go through which expert, and the sum of what comes back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include "layout.h"
#include "team.h"

namespace {

// The k experts with the highest softmax of a row's n router logits, which are overwritten; of equals, the first.
void choose(const Op &op, float *logits, int32_t *chosen, float *weight) {
  float top = -INFINITY, sum = 0, part = 0;
  for (int e = 0; e < op.n; e++) top = std::max(top, logits[e]);
  for (int e = 0; e < op.n; e++) sum += logits[e] = std::exp(logits[e] - top);
  for (int j = 0; j < op.k; j++) {
    int best = -1;
    for (int e = 0; e < op.n; e++)  // -1: chosen before; no two are the same even if all are NaN
      if (logits[e] != -1 && (best < 0 || logits[e] > logits[best])) best = e;
    chosen[j] = best, weight[j] = logits[best] / sum, logits[best] = -1;
    part += weight[j];
  }
  if (op.flags & RENORMALIZE)
    for (int j = 0; j < op.k; j++) weight[j] /= part;
}

// Which rows go through which expert. Experts follow each other in the program, so each row's outputs are added in the
// order of its experts' numbers, whatever is computed beside it.
void route(const Op &op, int rows, const Team &team) {
  const Routes &routes = *op.routes;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++)
      choose(op, op.target + row * op.out_stride, routes.chosen + row * op.k, routes.weight + row * op.k);
  });
  team.barrier();
  team.each(1, 1, [&](int64_t, int64_t) {
    std::fill_n(routes.count, op.n, 0);
    for (int64_t i = 0; i < (int64_t)rows * op.k; i++) {
      const int64_t place = routes.chosen[i] * routes.rows + routes.count[routes.chosen[i]]++;
      routes.row[place] = i / op.k, routes.share[place] = routes.weight[i];
    }
  });
}

// Rows that chose an expert, next to each other.
void gather(const Op &op, int rows, const Team &team) {
  const int32_t *chose = op.routes->row + op.expert * op.routes->rows;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      std::copy_n(op.source + (int64_t)chose[i] * op.in_stride, op.k, op.target + i * op.out_stride);
  });
}

// And back: out += share * in.
void scatter(const Op &op, int rows, const Team &team) {
  const int64_t first = op.expert * op.routes->rows;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const float *x = op.source + i * op.in_stride, share = op.routes->share[first + i];
      float *out = op.target + (int64_t)op.routes->row[first + i] * op.out_stride;
      for (int j = 0; j < op.k; j++) out[j] += share * x[j];
    }
  });
}

}  // namespace
