// What Python hands to the kernel (program.py has the same structures): a program is a list of ``Op``, run on a ``Batch``.
//
// The fields that each kind of operation reads. All read ``source`` and ``target``, rows that lie ``in_stride`` and
// ``out_stride`` floats apart, but for those whose row says otherwise; every one knows NO_BARRIER (the next operation
// need not wait for this one). Anything else is ignored.
//
//   EMBED     k channels; weight, scale, bits, group: the packed table (bits 32, 8 or 4); factor: multiplies the row;
//             extra: (positions, k), added by position, or null. No source: rows are tokens of the batch.
//             BFLOAT16: the target holds bfloat16, out_stride of them a row; factor is 1 and extra null.
//   NORM      k channels; weight, bias (or null), eps; LAYER_NORM: else RMSNorm; ADD: to the target.
//   LINEAR    n outputs, k inputs; weight, scale, bits, group: packed; bias or null; ADD: to the target;
//             REUSE_INPUT: the source is that of the LINEAR before, already quantized.
//   ADAPT     n outputs, k inputs; adapters: one for each place that the batch's rows name; routes, expert: of an expert.
//   STORE     k channels a head, heads, kv_heads, layer; source: q, k, v side by side; target: queries, heads padded to
//             TILE; factor: multiplies queries; rotated channels by the row of weight in turn: cosines, then sines;
//             extra, extra2: weights of the norms of q and k, or null; extra3, extra4: their biases; eps; LAYER_NORM.
//   ATTEND    k channels a head, heads, kv_heads, layer; source: queries; window: positions seen, 0 for all;
//             cap: scores s become cap * tanh(s / cap), 0 for none; extra: ALiBi's slope of each head, or null.
//   ACTIVATE  n channels; activation; GATED: times extra, rows in_stride apart.
//   SCALE     n channels, times factor; cap: as in ATTEND.
//   PICK      k channels of the rows that the batch picks; the rows after it are those.
//   BEST      n logits; no target: the best id and log-sum-exp of each row go to the batch.
//   ROUTE     n experts, k active; target: router logits, overwritten; routes: filled; RENORMALIZE: weights sum to 1.
//   GATHER    k channels of the rows that chose the expert; routes, expert; skip: operations left out if none did.
//   SCATTER   k channels of these rows back, weighted and added; routes, expert.
#pragma once

#include <cstdint>

namespace {

constexpr int PAGE = 64;    // positions of a cache page
constexpr int VECTORS = 8;  // query vectors that share one pass over keys and values

enum Kind { EMBED, NORM, LINEAR, STORE, ATTEND, ACTIVATE, PICK, BEST, ADAPT, SCALE, ROUTE, GATHER, SCATTER };
enum Flag { NO_BARRIER = 1, REUSE_INPUT = 2, ADD = 4, LAYER_NORM = 8, GATED = 16, RENORMALIZE = 32, BFLOAT16 = 64 };
enum Activation { SILU, GELU, GELU_TANH, GELU_QUICK, RELU, RELU2, TANH };

extern "C" struct Adapter {
  const float *down, *up;  // (rank, k), (n, rank)
  int32_t rank;
  float scale;
};

extern "C" struct Routes {    // of a batch through one mixture of experts
  int32_t *count;             // (experts,): rows that chose each. A layer's own: a late thread may still read it
  int32_t *chosen, *row;      // (rows, k): each row's experts; (experts, rows): the rows of each, in order
  float *weight, *share;      // of the same
  int64_t rows;               // most rows of a batch
};

extern "C" struct Op {
  int32_t kind, flags, bits, group;
  int32_t n, k;
  int32_t in_stride, out_stride;
  int32_t heads, kv_heads, rotated, window;
  int32_t layer, activation;
  int32_t expert, skip;
  float eps, factor, cap;
  const void *weight;
  const uint16_t *scale;
  const float *bias;
  const float *source;
  float *target;
  const float *extra, *extra2, *extra3, *extra4;
  const Routes *routes;
  const Adapter *adapters;
};

extern "C" struct Segment {  // consecutive positions of one sequence
  int32_t row, rows, start, reserved;
  const int32_t *pages;
};

extern "C" struct Batch {
  int32_t rows, segments, picks, threads;
  const int32_t *token, *position, *turn, *pick, *adapter, *segment_of;
  const Segment *segment;
  float *pool;
  int64_t page_floats;
  int8_t *quants;    // (rows, k) of the widest LINEAR, int8 or float32
  float *scales;     // (rows, groups)
  int32_t *sums;     // (rows, groups)
  float *scratch;    // per thread: VECTORS rows of scores, or ROWS of sums and a part of unpacked weights
  int64_t scratch_floats, score_floats;
  int32_t *best;
  float *logsumexp;
};

}  // namespace
