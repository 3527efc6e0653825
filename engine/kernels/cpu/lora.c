/* y[t] += B (A x[t]) with the A and B of the token's slot (engine/kernels/lora_delta.py).
 *
 * A: panels of 16 of its columns (slice · rank + r), [panel][num_in][16]. B: per slice panels of 16
 * outputs, [panel][rank][16]. A tile is up to 4 tokens of one slot, so that weights are read once
 * for them; each output is its own chain of fused multiply-adds, whatever the tile. */
#include "threads.h"
#include "vector.h"

#define MOST_COLUMNS 768 /* 3 slices of rank 256 */
#define TILE_TOKENS 4
#define EACH(i, n) _Pragma("GCC unroll 4") for (int i = 0; i < (n); i++)

typedef struct {
    int64_t a, b;          /* addresses */
    int64_t rank, present; /* rank 0: the slot leaves this matrix alone; a bit for each slice */
} Slot;

typedef struct {
    const float *x;
    float *y;
    const int32_t *tokens, *tiles; /* tiles [n][3]: slot, first of `tokens`, count */
    const Slot *table;
    const int64_t *ends; /* of each slice in y */
    int64_t num_in, num_slices, num_out, stride_x;
} Lora;

INLINE void shrink(const Lora *g, const float *const *x, const float *a, int64_t panel, float *h,
                   int rows, int cols) {
    vec acc[TILE_TOKENS][4];
    EACH(r, rows) EACH(c, cols) acc[r][c] = (vec){0};
    for (int64_t k = 0; k < g->num_in; k++) {
        vec w[4];
        EACH(c, cols) w[c] = load(a + ((panel + c) * g->num_in + k) * LANES);
        EACH(r, rows) {
            vec b = splat(x[r][k]);
            EACH(c, cols) acc[r][c] += b * w[c];
        }
    }
    EACH(r, rows) EACH(c, cols) store(h + r * MOST_COLUMNS + (panel + c) * LANES, acc[r][c]);
}

INLINE void expand(const float *h, const float *b, int64_t rank, float *const *y, int64_t left,
                   int rows, int cols) {
    vec acc[TILE_TOKENS][4];
    EACH(r, rows) EACH(c, cols) acc[r][c] = (vec){0};
    for (int64_t i = 0; i < rank; i++) {
        vec w[4];
        EACH(c, cols) w[c] = load(b + (c * rank + i) * LANES);
        EACH(r, rows) {
            vec s = splat(h[r * MOST_COLUMNS + i]);
            EACH(c, cols) acc[r][c] += s * w[c];
        }
    }
    EACH(r, rows) EACH(c, cols) {
        float *to = y[r] + c * LANES;
        if (left >= (c + 1) * LANES)
            store(to, load(to) + acc[r][c]);
        else
            for (int n = 0; n < LANES && c * LANES + n < left; n++) to[n] += acc[r][c][n];
    }
}

INLINE void tile(const Lora *g, const int32_t *at, int rows) {
    const Slot *slot = g->table + at[0];
    if (!slot->rank) return;
    float h[TILE_TOKENS * MOST_COLUMNS];
    const float *x[TILE_TOKENS];
    EACH(r, rows) x[r] = g->x + g->tokens[at[1] + r] * g->stride_x;
    const float *a = (const float *)(intptr_t)slot->a, *b = (const float *)(intptr_t)slot->b;
    int64_t panels = (g->num_slices * slot->rank + LANES - 1) / LANES, p = 0;
    for (; p + 4 <= panels; p += 4) shrink(g, x, a, p, h, rows, 4);
    for (; p < panels; p++) shrink(g, x, a, p, h, rows, 1);
    for (int64_t s = 0, start = 0; s < g->num_slices; start = g->ends[s++]) {
        int64_t width = g->ends[s] - start, count = (width + LANES - 1) / LANES;
        if (slot->present >> s & 1) {
            float *y[TILE_TOKENS];
            for (p = 0; p < count;) {
                int64_t left = width - p * LANES;
                EACH(r, rows) y[r] = g->y + g->tokens[at[1] + r] * g->num_out + start + p * LANES;
                const float *from = b + p * slot->rank * LANES;
                if (p + 4 <= count) {
                    expand(h + s * slot->rank, from, slot->rank, y, left, rows, 4);
                    p += 4;
                } else {
                    expand(h + s * slot->rank, from, slot->rank, y, left, rows, 1);
                    p += 1;
                }
            }
        }
        b += count * slot->rank * LANES;
    }
}

static void work(void *arg, int64_t from, int64_t to) {
    const Lora *g = arg;
    for (int64_t i = from; i < to; i++) {
        const int32_t *at = g->tiles + 3 * i;
        switch (at[2]) {
            case 1: tile(g, at, 1); break;
            case 2: tile(g, at, 2); break;
            case 3: tile(g, at, 3); break;
            default: tile(g, at, 4);
        }
    }
}

EXPORT void pagoda_lora(const float *x, float *y, const int32_t *tokens, const int32_t *tiles,
                        const void *table, const int64_t *ends, int64_t num_tiles, int64_t num_in,
                        int64_t num_slices, int64_t num_out, int64_t stride_x) {
    Lora g = {x, y, tokens, tiles, table, ends, num_in, num_slices, num_out, stride_x};
    parallel(num_tiles, work, &g);
}
