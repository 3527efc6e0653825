/* y[t] += B (A x[t]) with the A and B of the token's slot (engine/kernels/lora_delta.py).
 *
 * A: panels of 16 of its columns (slice · rank + r), [panel][num_in][16]. B: per slice panels of 64
 * outputs, [panel][rank][64]. Both float32 or bfloat16, widened in registers. A tile is up to 4
 * tokens of one slot, so that weights are read once for them. A sum over inputs runs in 4 chains of
 * fused multiply-adds whatever the tile, so that a row does not depend on its batch. */
#include "threads.h"
#include "vector.h"

#define MOST_COLUMNS 768 /* 3 slices of rank 256 */
#define TILE_TOKENS 4
#define EACH(i, n) _Pragma("GCC unroll 4") for (int i = 0; i < (n); i++)

typedef struct {
    int64_t a, b;    /* addresses */
    int64_t rank;    /* 0: the slot leaves this matrix alone */
    int32_t present; /* a bit for each slice */
    int32_t is_bf16;
    float scale[4]; /* of each slice */
} Slot;

typedef struct {
    const float *x;
    float *y;
    const int32_t *tokens, *tiles; /* tiles [n][3]: slot, first of `tokens`, count */
    const Slot *table;
    const int64_t *ends; /* of each slice in y */
    int64_t num_in, num_slices, num_out, stride_x;
} Lora;

/* 16 weights from element `at` on. */
INLINE vec weights(const void *p, int64_t at, int is_bf16) {
    return is_bf16 ? load_bf16((const uint16_t *)p + at) : load((const float *)p + at);
}

INLINE void shrink(const Lora *g, const float *const *x, const void *a, int64_t panel, float *h,
                   int rows, int is_bf16) {
    vec acc[TILE_TOKENS][4];
    EACH(r, rows) EACH(u, 4) acc[r][u] = (vec){0};
    int64_t first = panel * g->num_in * LANES, k = 0;
    for (; k + 4 <= g->num_in; k += 4) EACH(u, 4) {
        vec w = weights(a, first + (k + u) * LANES, is_bf16);
        EACH(r, rows) acc[r][u] += x[r][k + u] * w;
    }
    for (; k < g->num_in; k++) {
        vec w = weights(a, first + k * LANES, is_bf16);
        EACH(r, rows) acc[r][0] += x[r][k] * w;
    }
    EACH(r, rows) store(h + r * MOST_COLUMNS + panel * LANES,
                        (acc[r][0] + acc[r][1]) + (acc[r][2] + acc[r][3]));
}

/* The last outputs of a slice. Apart, so that the sums of a full panel never need an address. */
static __attribute__((noinline)) void add_some(float *to, const vec *sums, int64_t count) {
    for (int64_t n = 0; n < count; n++) to[n] += sums[n / LANES][n % LANES];
}

/* One panel of outputs; `left` of the slice remain. */
INLINE void expand(const float *h, const void *b, int64_t first, int64_t rank, float scale,
                   float *const *y, int64_t left, int rows, int is_bf16) {
    vec acc[TILE_TOKENS][4];
    EACH(r, rows) EACH(c, 4) acc[r][c] = (vec){0};
    for (int64_t i = 0; i < rank; i++) EACH(c, 4) {
        vec w = weights(b, first + (4 * i + c) * LANES, is_bf16);
        EACH(r, rows) acc[r][c] += h[r * MOST_COLUMNS + i] * w;
    }
    EACH(r, rows) {
        if (left < 4 * LANES) {
            vec sums[4];
            EACH(c, 4) sums[c] = acc[r][c] * scale;
            add_some(y[r], sums, left);
        } else
            EACH(c, 4) store(y[r] + c * LANES, load(y[r] + c * LANES) + acc[r][c] * scale);
    }
}

INLINE void tile(const Lora *g, const int32_t *at, int rows, int is_bf16) {
    const Slot *slot = g->table + at[0];
    float h[TILE_TOKENS * MOST_COLUMNS];
    const float *x[TILE_TOKENS];
    EACH(r, rows) x[r] = g->x + g->tokens[at[1] + r] * g->stride_x;
    const void *a = (const void *)(intptr_t)slot->a, *b = (const void *)(intptr_t)slot->b;
    int64_t panels = (g->num_slices * slot->rank + LANES - 1) / LANES, first = 0;
    for (int64_t p = 0; p < panels; p++) shrink(g, x, a, p, h, rows, is_bf16);
    for (int64_t s = 0, start = 0; s < g->num_slices; start = g->ends[s++]) {
        float *y[TILE_TOKENS];
        EACH(r, rows) y[r] = g->y + g->tokens[at[1] + r] * g->num_out + start;
        for (int64_t left = g->ends[s] - start; left > 0; left -= 4 * LANES) {
            if (slot->present >> s & 1)
                expand(h + s * slot->rank, b, first, slot->rank, slot->scale[s], y, left, rows,
                       is_bf16);
            EACH(r, rows) y[r] += 4 * LANES;
            first += 4 * slot->rank * LANES;
        }
    }
}

#define TILE_CASE(n) case n: if (is_bf16) tile(g, at, n, 1); else tile(g, at, n, 0); break;

static void work(void *arg, int64_t from, int64_t to) {
    const Lora *g = arg;
    for (int64_t i = from; i < to; i++) {
        const int32_t *at = g->tiles + 3 * i;
        if (!g->table[at[0]].rank) continue;
        int is_bf16 = g->table[at[0]].is_bf16;
        switch (at[2]) { TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4) }
    }
}

EXPORT void pagoda_lora(const float *x, float *y, const int32_t *tokens, const int32_t *tiles,
                        const void *table, const int64_t *ends, int64_t num_tiles, int64_t num_in,
                        int64_t num_slices, int64_t num_out, int64_t stride_x) {
    Lora g = {x, y, tokens, tiles, table, ends, num_in, num_slices, num_out, stride_x};
    parallel(num_tiles, work, &g);
}
