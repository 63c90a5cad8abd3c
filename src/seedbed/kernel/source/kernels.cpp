// Runs a decoder step on CPU: a list of operations on rows, in one parallel region.
//
// The operations know nothing of any model; Python lists them once per model. What these files promise is
// that a row's bits never depend on the other rows of a batch, on how a sequence was cut into batches, or on the number
// of threads: every output is the same chain of roundings whatever is computed beside it. The register tiling (MR rows
// by T tiles) only changes how many such chains advance together. So a request gives the same answer alone or under
// load, and keys and values written while decoding equal those of a prefill.
//
// Weights come in tiles of 16 output rows (packed.py): float32, or int8/int4 in groups along the input
// with a float16 scale each. Activations are quantized to int8 in the same groups on the fly; products are summed
// exactly in integers (AVX-512 VNNI where there is one, plain loops elsewhere) and scaled in float32.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "attention.h"
#include "experts.h"
#include "layout.h"
#include "linear.h"
#include "low_rank.h"
#include "rows.h"
#include "team.h"

namespace {

void execute(const Op *ops, int count, const Batch &batch, const Team &team) {
  int rows = batch.rows;
  for (int i = 0; i < count; i++) {
    const Op &op = ops[i];
    switch (op.kind) {
      case EMBED: embed(op, batch, rows, team); break;
      case NORM: norm(op, rows, team); break;
      case LINEAR: linear(op, batch, rows, team); break;
      case STORE: store_heads(op, batch, rows, team); break;
      case ATTEND: attend(op, batch, team); break;
      case ACTIVATE: activate(op, rows, team); break;
      case PICK: pick(op, batch, team), rows = batch.picks; break;
      case BEST: best(op, batch, rows, team); break;
      case ADAPT: adapt(op, batch, rows, team); break;
      case SCALE: scale(op, rows, team); break;
      case ROUTE: route(op, rows, team); break;
      case GATHER:
        rows = op.routes->count[op.expert];
        if (rows) gather(op, rows, team);
        else rows = batch.rows, i += op.skip;
        break;
      case SCATTER: scatter(op, rows, team), rows = batch.rows; break;
    }
    if (!(op.flags & NO_BARRIER)) team.barrier();
  }
}
// A field's place in its structure, by name: program.py must agree.
struct Place {
  const char *name;
  int64_t offset, size;
};

#define WHOLE(type) {#type, 0, sizeof(type)}
#define FIELD(type, field) {#type "." #field, offsetof(type, field), sizeof(type::field)}
const Place PLACES[] = {
    WHOLE(Adapter), FIELD(Adapter, down), FIELD(Adapter, up), FIELD(Adapter, rank), FIELD(Adapter, scale),
    WHOLE(Routes), FIELD(Routes, count), FIELD(Routes, chosen), FIELD(Routes, row), FIELD(Routes, weight),
    FIELD(Routes, share), FIELD(Routes, rows),
    WHOLE(Op), FIELD(Op, kind), FIELD(Op, flags), FIELD(Op, bits), FIELD(Op, group), FIELD(Op, n), FIELD(Op, k),
    FIELD(Op, in_stride), FIELD(Op, out_stride), FIELD(Op, heads), FIELD(Op, kv_heads), FIELD(Op, rotated),
    FIELD(Op, window), FIELD(Op, layer), FIELD(Op, activation), FIELD(Op, expert), FIELD(Op, skip), FIELD(Op, eps),
    FIELD(Op, factor), FIELD(Op, cap), FIELD(Op, weight), FIELD(Op, scale), FIELD(Op, bias), FIELD(Op, source),
    FIELD(Op, target), FIELD(Op, extra), FIELD(Op, extra2), FIELD(Op, extra3), FIELD(Op, extra4), FIELD(Op, routes),
    FIELD(Op, adapters),
    WHOLE(Segment), FIELD(Segment, row), FIELD(Segment, rows), FIELD(Segment, start), FIELD(Segment, reserved),
    FIELD(Segment, pages),
    WHOLE(Batch), FIELD(Batch, rows), FIELD(Batch, segments), FIELD(Batch, picks), FIELD(Batch, threads),
    FIELD(Batch, token), FIELD(Batch, position), FIELD(Batch, turn), FIELD(Batch, pick), FIELD(Batch, adapter),
    FIELD(Batch, segment_of),
    FIELD(Batch, segment), FIELD(Batch, pool), FIELD(Batch, page_floats), FIELD(Batch, quants), FIELD(Batch, scales),
    FIELD(Batch, sums), FIELD(Batch, scratch), FIELD(Batch, scratch_floats), FIELD(Batch, score_floats),
    FIELD(Batch, best), FIELD(Batch, logsumexp),
};
#undef WHOLE
#undef FIELD

}  // namespace

extern "C" {

// 1: plain loops, 2: AVX-512 VNNI
int seedbed_instructions() {
#ifdef SEEDBED_VNNI
  return 2;
#else
  return 1;
#endif
}

// Writes offset and size of a field ("Op.bits") or of a structure ("Op": 0 and its size); returns whether there is one.
int seedbed_place(const char *name, int64_t *out) {
  for (const Place &place : PLACES)
    if (!std::strcmp(place.name, name)) {
      out[0] = place.offset, out[1] = place.size;
      return 1;
    }
  return 0;
}

void seedbed_run(const Op *ops, int count, const Batch *batch) {
  const std::unique_ptr<Phase[]> phases(new Phase[2 * count]);  // an operation has one or two
#ifdef _OPENMP
#pragma omp parallel num_threads(batch->threads)
  execute(ops, count, *batch, Team{omp_get_thread_num(), omp_get_num_threads(), phases.get()});
#else
  execute(ops, count, *batch, Team{0, 1, phases.get()});
#endif
}
}
