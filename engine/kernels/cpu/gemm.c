/* y = x W^T + b on packed panels (engine/kernels/packed_gemm.py). Each output is one chain of
 * fused multiply-adds over k, whatever the tile, so that a row does not depend on its batch.
 *
 * A panel is [steps][32 columns] words of four bytes. A float32 word is one weight; a bfloat16 word
 * is one column's weights of k = 2 step (low half) and 2 step + 1 (high half). Where the CPU
 * multiplies such pairs itself (AVX512_BF16), x is rounded to pairs too; elsewhere it stays float32
 * and the weights are widened in registers. With AMX, amx.c computes all but float32 words. */
#include "gemm.h"

#include "threads.h"
#include "vector.h"

#if defined(__AVX512BF16__) || defined(PAGODA_EMULATE_BF16)
#define ROUNDS_BF16 1
#else
#define ROUNDS_BF16 0
#endif
#define PAIRS 16 /* steps of a bfloat16 panel come in whole blocks of these, for AMX */
#define EACH(i, n) _Pragma("GCC unroll 12") for (int i = 0; i < (n); i++)

typedef vec Sums[MAX_ROWS][8];

INLINE int64_t steps_of(int is_bf16, int64_t num_in) { return is_bf16 ? (num_in + 1) / 2 : num_in; }

int64_t panel_words(int kind, int64_t num_in) {
    const int64_t blocks = (num_in + 2 * PAIRS - 1) / (2 * PAIRS);
    return PANEL * (kind == FLOAT32 ? num_in : blocks * PAIRS * (kind == SPLIT ? 2 : 1));
}

INLINE vec low_half(uvec word) { return bits_to_vec(word << 16); }
INLINE vec high_half(uvec word) { return bits_to_vec(word & 0xffff0000u); }

/* sum + x · w over a pair of k: both are bfloat16, the odd k is added first, each addition rounds
 * once. This is vdpbf16ps but for its flush of denormals; the emulation lets any CPU test it. */
INLINE vec dot_pair(vec sum, const float *x, uvec word) {
    uint32_t pair;
    memcpy(&pair, x, sizeof pair);
    uvec both = (uvec){0} + pair;
#ifdef __AVX512BF16__
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)both, (__m512bh)word);
#else
    sum += high_half(both) * high_half(word);
    return sum + low_half(both) * low_half(word);
#endif
}

/* acc[r][c] += x[r] · w[c] for one k. */
INLINE void add_outer(Sums acc, const float *x, int64_t stride, const vec *w, int rows, int cols) {
    EACH(r, rows) {
        vec b = splat(x[r * stride]);
        EACH(c, cols) acc[r][c] += b * w[c];
    }
}

INLINE void add_step(const Gemm *g, Sums acc, const float *x, int64_t step, const uvec *word,
                     int rows, int cols, int is_bf16) {
    vec w[8];
    if (!is_bf16) {
        EACH(c, cols) w[c] = bits_to_vec(word[c]);
        add_outer(acc, x + step, g->stride_x, w, rows, cols);
    } else if (ROUNDS_BF16) {
        EACH(r, rows) {
            const float *pair = x + r * g->stride_x + step;
            EACH(c, cols) acc[r][c] = dot_pair(acc[r][c], pair, word[c]);
        }
    } else {
        if (2 * step + 1 < g->num_in) {
            EACH(c, cols) w[c] = high_half(word[c]);
            add_outer(acc, x + 2 * step + 1, g->stride_x, w, rows, cols);
        }
        EACH(c, cols) w[c] = low_half(word[c]);
        add_outer(acc, x + 2 * step, g->stride_x, w, rows, cols);
    }
}

/* The last panel where it is not full: column by column. Apart, so that the sums of a full tile
 * never need an address. */
static __attribute__((noinline)) void store_edge(const Gemm *g, Sums acc, int64_t row,
                                                 int64_t column, int rows, int cols) {
    int64_t left = g->num_out - column;
    for (int r = 0; r < rows; r++)
        for (int n = 0; n < cols * LANES && n < left; n++) {
            float bias = g->bias ? g->bias[column + n] : 0.0f;
            g->y[(row + r) * g->num_out + column + n] = acc[r][n / LANES][n % LANES] + bias;
        }
}

INLINE void store_sums(const Gemm *g, Sums acc, int64_t row, int64_t column, int rows, int cols) {
    if (column + cols * LANES > g->num_out) {
        Sums copy;
        EACH(r, rows) EACH(c, cols) copy[r][c] = acc[r][c];
        store_edge(g, copy, row, column, rows, cols);
        return;
    }
    if (g->bias)
        EACH(c, cols) {
            vec bias = load(g->bias + column + c * LANES);
            EACH(r, rows) acc[r][c] += bias;
        }
    float *y = g->y + row * g->num_out + column;
    EACH(r, rows) EACH(c, cols) store(y + r * g->num_out + c * LANES, acc[r][c]);
}

/* One tile: `rows` rows of x by `panels` panels of 32 columns; both known when compiled. Meanwhile
 * each step asks for the `pace` bytes of weights that follow `ahead`. */
INLINE void tile(const Gemm *g, int64_t row, int64_t panel, int rows, int panels, int is_bf16,
                 const char *ahead, int64_t pace) {
    const int64_t size = panel_words(is_bf16, g->num_in), cols = 2 * panels;
    const int64_t steps = steps_of(is_bf16, g->num_in);
    const uint32_t *w = g->panels + panel * size;
    const float *x = g->x + row * g->stride_x;
    Sums acc;
    EACH(r, rows) EACH(c, cols) acc[r][c] = (vec){0};
    for (int64_t step = 0; step < steps; step++, ahead += pace) {
        uvec word[8];
        __builtin_prefetch(ahead, 0, 2);
        EACH(c, cols) {
            const uint32_t *at = w + c / 2 * size + step * PANEL + c % 2 * LANES;
            memcpy(&word[c], at, sizeof word[c]);
        }
        add_step(g, acc, x, step, word, rows, cols, is_bf16);
    }
    store_sums(g, acc, row, panel * PANEL, rows, cols);
}

#define TILE_CASE(n, panels) case n: tile(g, row, panel, n, panels, is_bf16, ahead, pace); break;

/* Rows from … to by one panel, in tiles of nearly equal height, each of which fetches its share of
 * the next panel: a panel comes from far away and is used for these rows only. */
INLINE void rows_of_panel(const Gemm *g, int64_t from, int64_t to, int64_t panel, int is_bf16) {
    const int64_t rows = to - from, tiles = (rows + MAX_ROWS - 1) / MAX_ROWS;
    const int64_t words = panel_words(is_bf16, g->num_in), pace = (4 * PANEL + tiles - 1) / tiles;
    const int is_last = (panel + 1) * PANEL >= g->num_out;
    const uint32_t *next = is_last && g->next ? g->next : g->panels + words * (panel + 1);
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t row = from + rows * t / tiles;
        const char *ahead = (const char *)next + t * pace * steps_of(is_bf16, g->num_in);
        switch (from + rows * (t + 1) / tiles - row) {
            TILE_CASE(1, 1) TILE_CASE(2, 1)
#if MAX_ROWS > 2
            TILE_CASE(3, 1) TILE_CASE(4, 1) TILE_CASE(5, 1) TILE_CASE(6, 1) TILE_CASE(7, 1)
            TILE_CASE(8, 1) TILE_CASE(9, 1) TILE_CASE(10, 1) TILE_CASE(11, 1) TILE_CASE(12, 1)
#endif
        }
    }
}

/* Few rows: several panels at once keep enough independent sums in flight. Many: by blocks of rows
 * whose x and y stay in the second cache while all panels pass. */
INLINE void panels_range(const Gemm *g, int64_t panel, int64_t to, int is_bf16) {
#if MAX_ROWS > 2
    const int64_t row = 0, together = g->rows <= 2 ? 4 : g->rows <= 4 ? 2 : 1, pace = 0;
    const char *ahead = (const char *)g->x;
    if (together > 1)
        for (; panel + together <= to; panel += together)
            switch (g->rows) { TILE_CASE(1, 4) TILE_CASE(2, 4) TILE_CASE(3, 2) TILE_CASE(4, 2) }
#endif
    const int64_t blocks = (g->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t p = panel; p < to; p++)
            rows_of_panel(g, g->rows * b / blocks, g->rows * (b + 1) / blocks, p, is_bf16);
}

static void work(void *arg, int64_t from, int64_t to) {
    const Gemm *g = arg;
    if (g->kind == FLOAT32) panels_range(g, from, to, 0);
    else if (amx_ready()) amx_panels(g, from, to);
    else panels_range(g, from, to, 1);
}

static void split_rows(void *arg, int64_t from, int64_t to) { amx_split(arg, from, to); }

INLINE int64_t panels_of(const Gemm *g) { return (g->num_out + PANEL - 1) / PANEL; }

void gemm_rows(const Gemm *g) {
    if (g->kind == SPLIT && g->x) amx_split(g, 0, (g->rows + PAIRS - 1) / PAIRS);
    work((void *)g, 0, panels_of(g));
}

typedef struct {
    const float *x;
    uint16_t *out;
    int64_t num_in, stride_x, stride_out;
} Rounding;

static void round_rows(void *arg, int64_t from, int64_t to) {
    const Rounding *a = arg;
    for (int64_t r = from; r < to; r++) {
        const float *x = a->x + r * a->stride_x;
        uint16_t *out = a->out + r * a->stride_out;
        for (int64_t k = 0; k < a->num_in; k++) out[k] = to_bf16(x[k]);
        if (a->num_in % 2) out[a->num_in] = 0;
    }
}

/* Whether bfloat16 weights meet activations rounded to bfloat16. */
EXPORT int64_t pagoda_rounds_bf16(void) { return ROUNDS_BF16 && !amx_ready(); }

/* Whether float32 weights may come as SPLIT panels. */
EXPORT int64_t pagoda_takes_split(void) { return amx_ready(); }

/* `scratch`: not read for FLOAT32 panels; otherwise words for whole tiles of 16 rows × 32 k. */
EXPORT void pagoda_gemm(const float *x, const void *panels, const float *bias, float *y,
                        void *scratch, int64_t rows, int64_t num_in, int64_t num_out,
                        int64_t stride_x, int64_t kind) {
    Gemm g = {x, panels, bias, y, rows, num_in, num_out, stride_x, 0, (int)kind, scratch, 0};
    if (kind != FLOAT32 && amx_ready()) parallel((rows + PAIRS - 1) / PAIRS, split_rows, &g);
    else if (kind == BFLOAT16 && ROUNDS_BF16) {
        Rounding a = {x, scratch, num_in, stride_x, num_in + num_in % 2};
        parallel(rows, round_rows, &a);
        g.x = scratch, g.stride_x = (num_in + 1) / 2;
    }
    parallel(panels_of(&g), work, &g);
}
