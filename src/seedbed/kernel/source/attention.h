// Attention over pages: queries, keys and values are normalized, rotated and stored; then queries meet the keys.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include "layout.h"
#include "rows.h"
#include "team.h"
#include "vectors.h"

namespace {

struct Cache {  // one layer's keys and values of one head: pages of [4 tiles][channel][16 keys], then [64 keys][channel]
  const Op &op;
  const Batch &batch;
  int head, width;
  float *page(const Segment &s, int position) const {
    int64_t slot = ((int64_t)op.layer * op.kv_heads + head) * 2 * PAGE * width;
    return batch.pool + s.pages[position / PAGE] * batch.page_floats + slot;
  }
  float *keys(const Segment &s, int tile) const {
    return page(s, tile * TILE) + (int64_t)(tile % (PAGE / TILE)) * TILE * width;
  }
  float *value(const Segment &s, int position) const {
    return page(s, position) + (int64_t)PAGE * width + (int64_t)(position % PAGE) * width;
  }
};

inline int padded_head(const Op &op) { return (op.k + TILE - 1) / TILE * TILE; }

// Queries, keys and values of new positions: norm, rotation, scale; queries to a buffer, the rest to the cache.
void store_heads(const Op &op, const Batch &batch, int rows, const Team &team) {
  const int width = padded_head(op), all = op.heads + 2 * op.kv_heads, half_turn = op.rotated / 2;
  team.each((int64_t)rows * all, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const int row = i / all, head = i % all;
      const bool is_q = head < op.heads, is_k = !is_q && head < op.heads + op.kv_heads;
      const float *x = op.source + (int64_t)row * op.in_stride + head * op.k;
      float h[1024];
      std::copy(x, x + op.k, h);
      std::fill(h + op.k, h + width, 0.0f);
      const int position = batch.position[row];
      if (is_q || is_k) {
        const float *weight = is_q ? op.extra : op.extra2, *bias = is_q ? op.extra3 : op.extra4;
        if (weight) normalize(h, h, op.k, op.flags, op.eps, weight, bias);
        if (op.rotated) {
          const float *cosine = (const float *)op.weight + (int64_t)batch.turn[row] * op.rotated, *sine = cosine + half_turn;
          for (int d = 0; d < half_turn; d++) {
            float a = h[d], b = h[d + half_turn];
            h[d] = a * cosine[d] - b * sine[d];
            h[d + half_turn] = b * cosine[d] + a * sine[d];
          }
        }
      }
      if (is_q) {
        float *q = op.target + (int64_t)row * op.out_stride + head * width;
        for (int d = 0; d < width; d++) q[d] = h[d] * op.factor;
        continue;
      }
      const Segment &s = batch.segment[batch.segment_of[row]];
      const Cache cache{op, batch, (head - op.heads) % op.kv_heads, width};
      if (is_k) {
        float *keys = cache.keys(s, position / TILE) + position % TILE;
        for (int d = 0; d < width; d++) keys[d * TILE] = h[d];
      } else {
        std::copy(h, h + width, cache.value(s, position));
      }
    }
  });
}

// Scores of R query vectors against T tiles of keys: every lane is one key's sum over channels in order.
template <int R, int T>
inline void score(const float *const (&q)[VECTORS], float *const (&scores)[VECTORS], const float *const (&keys)[T],
                  int width, int64_t at) {
  vec a[T][R];
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) a[t][r] = vec{};
  for (int d = 0; d < width; d++)
    for (int t = 0; t < T; t++) {
      vec k = load(keys[t] + d * TILE);
      for (int r = 0; r < R; r++) a[t][r] = madd(k, splat(q[r][d]), a[t][r]);
    }
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) store(scores[r] + at + t * TILE, a[t][r]);
}

// exp(score - max) of keys [from, to] in place, zero elsewhere in the tiles [0, count); returns 1 / sum.
inline float softmax(float *scores, int64_t count, int64_t from, int64_t to) {
  for (int64_t i = 0; i < from; i++) scores[i] = -INFINITY;
  for (int64_t i = to + 1; i < count; i++) scores[i] = -INFINITY;
  vec largest = splat(-INFINITY), sum = vec{};
  for (int64_t i = 0; i < count; i += TILE) {
    vec s = load(scores + i);
    largest = s > largest ? s : largest;
  }
  float top = -INFINITY;
  for (int r = 0; r < TILE; r++) top = std::max(top, largest[r]);
  for (int64_t i = 0; i < count; i += TILE) {
    vec p = exponential(load(scores + i) - splat(top));
    store(scores + i, p);
    sum = sum + p;
  }
  return 1.0f / total(sum);
}

// Scores of keys [from, to]: squashed, then less ``slope`` for every position between key and query, which is ``to``.
inline void bend(const Op &op, float *scores, int64_t from, int64_t to, float slope) {
  const vec lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int64_t i = from / TILE * TILE; i <= to; i += TILE) {
    vec s = load(scores + i);
    if (op.cap) s = squash(s, op.cap);
    if (slope) s = madd(splat(slope), splat((float)(i - to)) + lanes, s);
    store(scores + i, s);
  }
}

// Weighted sums of values for R vectors, C vectors of channels at a time.
template <int R, int C>
inline void mix(const Cache &cache, const Segment &s, float *const (&p)[VECTORS], int first, int last, int channel,
                vec (&a)[C][R]) {
  for (int c = 0; c < C; c++)
    for (int r = 0; r < R; r++) a[c][r] = vec{};
  for (int key = first; key <= last;) {
    const int end = std::min(last, key | (PAGE - 1));
    const float *v = cache.value(s, key) + channel;
    for (; key <= end; key++, v += cache.width)
      for (int c = 0; c < C; c++) {
        vec x = load(v + c * TILE);
        for (int r = 0; r < R; r++) a[c][r] = madd(x, splat(p[r][key - first]), a[c][r]);
      }
  }
}

template <int R>
void attend_vectors(const Cache &cache, const Segment &s, const float *const (&q)[VECTORS],
                    float *const (&out)[VECTORS], const int (&position)[VECTORS], const float (&slope)[VECTORS],
                    float *scratch, int64_t stride) {
  constexpr int T = R <= 2 ? 4 : 2, C = R <= 4 ? 4 : 2;
  const Op &op = cache.op;
  int lowest = position[0], highest = position[0];
  for (int r = 1; r < R; r++) lowest = std::min(lowest, position[r]), highest = std::max(highest, position[r]);
  const int first_tile = op.window ? std::max(0, lowest - op.window + 1) / TILE : 0, last_tile = highest / TILE;
  const int first = first_tile * TILE;
  float *p[VECTORS];
  for (int r = 0; r < VECTORS; r++) p[r] = scratch + r * stride;
  int tile = first_tile;
  for (; tile + T - 1 <= last_tile; tile += T) {
    const float *keys[T];
    for (int t = 0; t < T; t++) keys[t] = cache.keys(s, tile + t);
    score<R, T>(q, p, keys, cache.width, (int64_t)(tile - first_tile) * TILE);
  }
  for (; tile <= last_tile; tile++) {
    const float *keys[1] = {cache.keys(s, tile)};
    score<R, 1>(q, p, keys, cache.width, (int64_t)(tile - first_tile) * TILE);
  }
  float inverse[R];
  for (int r = 0; r < R; r++) {
    int from = op.window ? std::max(0, position[r] - op.window + 1) - first : 0;
    if (op.cap || op.extra) bend(op, p[r], from, position[r] - first, slope[r]);
    inverse[r] = softmax(p[r], (int64_t)(last_tile - first_tile + 1) * TILE, from, position[r] - first);
  }
  auto finish = [&](int channel, int r, vec sum) {
    vec y = sum * splat(inverse[r]);
    for (int d = 0; d < TILE && channel + d < op.k; d++) out[r][channel + d] = y[d];
  };
  int channel = 0;
  for (; channel + C * TILE <= cache.width; channel += C * TILE) {
    vec a[C][R];
    mix<R, C>(cache, s, p, first, highest, channel, a);
    for (int c = 0; c < C; c++)
      for (int r = 0; r < R; r++) finish(channel + c * TILE, r, a[c][r]);
  }
  for (; channel < cache.width; channel += TILE) {
    vec a[1][R];
    mix<R, 1>(cache, s, p, first, highest, channel, a);
    for (int r = 0; r < R; r++) finish(channel, r, a[0][r]);
  }
}

void attend(const Op &op, const Batch &batch, const Team &team) {
  const int width = padded_head(op), share = op.heads / op.kv_heads;
  float *scratch = batch.scratch + team.id * batch.scratch_floats;
  const int64_t stride = batch.score_floats / VECTORS;
  auto parts = [&](int segment) { return (batch.segment[segment].rows * share + VECTORS - 1) / VECTORS; };
  auto items = [&](int segment) { return (int64_t)op.kv_heads * parts(segment); };
  int64_t total = 0;
  for (int i = 0; i < batch.segments; i++) total += items(i);
  int segment = 0;
  int64_t before = 0;  // items of earlier segments
  team.each(total, 16, [&](int64_t from, int64_t to) {  // a head's parts together: they read the same keys
    for (int64_t item = from; item < to; item++) {
      while (item - before >= items(segment)) before += items(segment++);
      const Segment &s = batch.segment[segment];
      const int head = (item - before) / parts(segment), first = (item - before) % parts(segment) * VECTORS;
      const int count = std::min(VECTORS, s.rows * share - first);
      const Cache cache{op, batch, head, width};
      const float *q[VECTORS];
      float *out[VECTORS];
      int position[VECTORS];
      float slope[VECTORS];
      for (int v = 0; v < VECTORS; v++) {  // missing vectors repeat the last one: same result, written twice
        const int at = first + std::min(v, count - 1), row = s.row + at / share, h = head * share + at % share;
        q[v] = op.source + (int64_t)row * op.in_stride + h * width;
        out[v] = op.target + (int64_t)row * op.out_stride + h * op.k;
        position[v] = s.start + at / share;
        slope[v] = op.extra ? op.extra[h] : 0.0f;
      }
      if (count == 1) attend_vectors<1>(cache, s, q, out, position, slope, scratch, stride);
      else if (count == 2) attend_vectors<2>(cache, s, q, out, position, slope, scratch, stride);
      else if (count <= 4) attend_vectors<4>(cache, s, q, out, position, slope, scratch, stride);
      else attend_vectors<8>(cache, s, q, out, position, slope, scratch, stride);
    }
  });
}

}  // namespace
