/* y = x W^T + b by AMX, whose tiles multiply bfloat16 and add in float32.
 *
 * A float32 number goes in as two bfloat16 parts: itself rounded, and what that left, rounded. They
 * keep 16 of its 24 bits. The product of two such numbers is the sum of three products of parts;
 * that of their second parts lies below the rounding. Each output is a sum over k in one fixed
 * order, whatever the tile, so that a row does not depend on its batch.
 *
 * x in parts lies in tiles of 16 rows × 32 k: [rows / 16][k / 32][part][16][32]. A panel of W holds
 * pairs of k as a tile wants them: [k / 32][part][16 pairs][32 columns]; bfloat16 has one part. */
#include "gemm.h"
#include "threads.h"
#include "vector.h"

#define TILE_ROWS 16
#define TILE_WORDS (TILE_ROWS * LANES) /* of x; two such tiles are a panel's block of W */
#define PARTS 2                        /* of x */

INLINE int64_t blocks_of(int64_t num_in) { return (num_in + 2 * LANES - 1) / (2 * LANES); }

int64_t amx_words(int64_t rows, int64_t num_in) {
    return (rows + TILE_ROWS - 1) / TILE_ROWS * blocks_of(num_in) * PARTS * TILE_WORDS;
}

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#include <math.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ready;

/* The operating system lets a process use the tiles when it asks. */
__attribute__((constructor)) static void ask(void) {
    const long request_permission = 0x1023, tile_data = 18;
    ready = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

int amx_ready(void) { return ready; }

/* The first `count` of 16 lanes. */
INLINE __mmask16 lanes(int64_t count) {
    return count >= LANES ? 0xffff : count <= 0 ? 0 : (1 << count) - 1;
}

/* 16 numbers of one row into both parts; infinity has nothing left for the second. */
INLINE void split(vec x, uint32_t *out) {
    const __m256bh first = _mm512_cvtneps_pbh((__m512)x);
    const __m512 wide = (__m512)((uvec)_mm512_cvtepu16_epi32((__m256i)first) << 16);
    const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(wide), splat(INFINITY), _CMP_NEQ_UQ);
    const __m256bh second = _mm512_cvtneps_pbh(_mm512_maskz_sub_ps(finite, (__m512)x, wide));
    memcpy(out, &first, sizeof first);
    memcpy(out + TILE_WORDS, &second, sizeof second);
}

void amx_split(const Gemm *g, int64_t from, int64_t to) {
    const int64_t blocks = blocks_of(g->num_in);
    const int64_t rows = to * TILE_ROWS < g->rows ? to * TILE_ROWS : g->rows;
    for (int64_t r = from * TILE_ROWS; r < rows; r++) {
        uint32_t *out = g->parts + r / TILE_ROWS * blocks * PARTS * TILE_WORDS + r % TILE_ROWS * LANES;
        const float *x = g->x + r * g->stride_x;
        for (int64_t k = 0; k < blocks * 2 * LANES; k += 2 * LANES, out += PARTS * TILE_WORDS) {
            split((vec)_mm512_maskz_loadu_ps(lanes(g->num_in - k), x + k), out);
            split((vec)_mm512_maskz_loadu_ps(lanes(g->num_in - k - LANES), x + k + LANES),
                  out + LANES / 2);
        }
    }
}

/* Tiles 0 to 3: sums; 4 and 5: x; 6 and 7: W. All have 16 rows of 64 bytes. */
INLINE void configure(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.row_bytes[i] = 4 * LANES, config.rows[i] = TILE_ROWS;
    _tile_loadconfig(&config);
}

/* sums[32][32] of one or two tiles of rows by one panel. Meanwhile asks for `pace` bytes of what
 * lies `ahead` beside each tile of W. */
INLINE void multiply(const uint32_t *x, const uint32_t *w, int64_t blocks, int tiles, int w_parts,
                     const char *ahead, int64_t pace, float *sums) {
    const uint32_t *below = x + blocks * PARTS * TILE_WORDS;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t b = 0; b < blocks; b++) {
        for (int q = 0; q < w_parts; q++, w += 2 * TILE_WORDS, ahead += pace) {
            _tile_loadd(6, w, 4 * PANEL);
            _tile_loadd(7, w + LANES, 4 * PANEL);
            for (int64_t i = 0; i < pace; i += 64) __builtin_prefetch(ahead + i, 0, 2);
            for (int p = 0; p < PARTS && p + q < PARTS; p++) {
                _tile_loadd(4, x + p * TILE_WORDS, 4 * LANES);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                if (tiles < 2) continue;
                _tile_loadd(5, below + p * TILE_WORDS, 4 * LANES);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
        x += PARTS * TILE_WORDS, below += PARTS * TILE_WORDS;
    }
    _tile_stored(0, sums, 4 * PANEL);
    _tile_stored(1, sums + LANES, 4 * PANEL);
    if (tiles < 2) return;
    _tile_stored(2, sums + TILE_ROWS * PANEL, 4 * PANEL);
    _tile_stored(3, sums + TILE_ROWS * PANEL + LANES, 4 * PANEL);
}

INLINE void store_sums(const Gemm *g, const float *sums, int64_t row, int64_t to, int64_t column) {
    const __mmask16 low = lanes(g->num_out - column), high = lanes(g->num_out - column - LANES);
    __m512 left = _mm512_setzero_ps(), right = left;
    if (g->bias) {
        left = _mm512_maskz_loadu_ps(low, g->bias + column);
        right = _mm512_maskz_loadu_ps(high, g->bias + column + LANES);
    }
    for (; row < to; row++, sums += PANEL) {
        float *y = g->y + row * g->num_out + column;
        _mm512_mask_storeu_ps(y, low, (__m512)load(sums) + left);
        _mm512_mask_storeu_ps(y + LANES, high, (__m512)load(sums + LANES) + right);
    }
}

/* gelu of the sums as the x of another product, of which a panel's columns are one block of k. */
INLINE void store_gelu(const Gemm *g, const float *sums, int64_t row, int64_t to, int64_t panel) {
    const int64_t column = panel * PANEL, blocks = blocks_of(g->num_out);
    vec left = {0}, right = {0};
    if (g->bias) {
        left = (vec)_mm512_maskz_loadu_ps(lanes(g->num_out - column), g->bias + column);
        right = (vec)_mm512_maskz_loadu_ps(lanes(g->num_out - column - LANES),
                                           g->bias + column + LANES);
    }
    for (; row < to; row++, sums += PANEL) {
        uint32_t *out = g->gelu + (row / TILE_ROWS * blocks + panel) * PARTS * TILE_WORDS;
        out += row % TILE_ROWS * LANES;
        split(vgelu(load(sums) + left), out);
        split(vgelu(load(sums + LANES) + right), out + LANES / 2);
    }
}

/* Rows from … to by one panel; each pair of tiles fetches its share of the panel that comes next. */
INLINE void rows_of_panel(const Gemm *g, int64_t from, int64_t to, int64_t panel, int w_parts) {
    float sums[2 * TILE_ROWS * PANEL] __attribute__((aligned(64)));
    const int64_t blocks = blocks_of(g->num_in), words = blocks * w_parts * 2 * TILE_WORDS;
    const int64_t high = 2 * TILE_ROWS, passes = (to - from + high - 1) / high;
    const int64_t pace = (2 * TILE_ROWS + passes - 1) / passes * 64;
    const int is_last = (panel + 1) * PANEL >= g->num_out;
    const uint32_t *w = g->panels + words * panel, *next = is_last ? g->next : w + words;
    const char *ahead = (const char *)next;
    for (int64_t row = from; row < to; row += high, ahead += next ? 4 * words / passes : 0) {
        const uint32_t *x = g->parts + row / TILE_ROWS * blocks * PARTS * TILE_WORDS;
        const int64_t end = row + high < to ? row + high : to, share = next ? pace : 0;
        if (end - row > TILE_ROWS) multiply(x, w, blocks, 2, w_parts, ahead, share, sums);
        else multiply(x, w, blocks, 1, w_parts, ahead, share, sums);
        if (g->gelu) store_gelu(g, sums, row, end, panel);
        else store_sums(g, sums, row, end, panel * PANEL);
    }
}

void amx_panels(const Gemm *g, int64_t from, int64_t to) {
    configure();
    for (int64_t row = 0; row < g->rows; row += AMX_ROWS)
        for (int64_t p = from; p < to; p++) {
            const int64_t end = row + AMX_ROWS < g->rows ? row + AMX_ROWS : g->rows;
            if (g->kind == SPLIT) rows_of_panel(g, row, end, p, 2);
            else rows_of_panel(g, row, end, p, 1);
        }
    _tile_release();
}

#else
int amx_ready(void) { return 0; }
void amx_split(const Gemm *g, int64_t from, int64_t to) { (void)g, (void)from, (void)to; }
void amx_panels(const Gemm *g, int64_t from, int64_t to) { (void)g, (void)from, (void)to; }
#endif
