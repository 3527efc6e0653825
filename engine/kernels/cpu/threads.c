/* The pool behind parallel(): the caller works too, helpers sleep between calls. A call is never
 * nested and comes from one thread at a time (the engine's step loop); a lock guards against more. */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "vector.h"

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif
#define MAX_THREADS 512
#define SPINS 2000 /* 20 to 100 µs: the next op of a layer usually follows sooner */

static struct {
    Work work;
    void *arg;
    int64_t items;
    int helpers;
    unsigned born[MAX_THREADS]; /* the turn each helper was started in: older ones are not its */
    atomic_uint turn;
    atomic_int busy;
    pthread_mutex_t lock, callers;
    pthread_cond_t wake;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .callers = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static void share(int part) {
    int64_t parts = pool.helpers + 1;
    int64_t from = pool.items * part / parts, to = pool.items * (part + 1) / parts;
    if (from < to) pool.work(pool.arg, from, to);
}

static void *helper(void *arg) {
    int part = (int)(intptr_t)arg;
    unsigned seen = pool.born[part];
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&pool.turn) == seen; i++) RELAX();
        if (atomic_load(&pool.turn) == seen) {
            pthread_mutex_lock(&pool.lock);
            while (atomic_load(&pool.turn) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = atomic_load(&pool.turn);
        share(part);
        atomic_fetch_sub(&pool.busy, 1);
    }
    return 0;
}

/* A forked child has none of the helpers, and perhaps a lock that one of them held. */
static void forget_helpers(void) {
    pool.helpers = 0;
    pthread_mutex_init(&pool.lock, 0);
    pthread_mutex_init(&pool.callers, 0);
    pthread_cond_init(&pool.wake, 0);
}

static pthread_key_t scratch; /* holds the thread's block: its size, and 64 bytes on its floats */

__attribute__((constructor)) static void set_up(void) {
    pthread_atfork(0, 0, forget_helpers);
    if (pthread_key_create(&scratch, free)) abort();
}

float *thread_scratch(int64_t floats) {
    int64_t *block = pthread_getspecific(scratch);
    if (!block || *block < floats) {
        free(block);
        block = aligned_alloc(64, 64 + (sizeof(float) * floats + 63) / 64 * 64);
        if (!block || pthread_setspecific(scratch, block)) abort();
        *block = floats;
    }
    return (float *)block + 16;
}

/* Starts helpers until `threads` threads (the caller included) work. Never shrinks the pool.
 * Returns how many there are. */
EXPORT int64_t pagoda_set_threads(int64_t threads) {
    pthread_mutex_lock(&pool.callers);
    while (pool.helpers + 1 < threads && pool.helpers + 1 < MAX_THREADS) {
        pthread_t thread;
        int part = pool.helpers + 1;
        pool.born[part] = atomic_load(&pool.turn);
        if (pthread_create(&thread, 0, helper, (void *)(intptr_t)part)) break;
        pthread_detach(thread);
        pool.helpers++;
    }
    int64_t now = pool.helpers + 1;
    pthread_mutex_unlock(&pool.callers);
    return now;
}

void parallel(int64_t items, Work work, void *arg) {
    if (pool.helpers == 0 || items < 2) {
        work(arg, 0, items);
        return;
    }
    pthread_mutex_lock(&pool.callers);
    pool.work = work, pool.arg = arg, pool.items = items;
    atomic_store(&pool.busy, pool.helpers);
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.turn, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    share(0);
    for (int i = 0; atomic_load(&pool.busy); i++) {
        if (i < SPINS) RELAX();
        else sched_yield(); /* more threads than cores: let a helper have this one */
    }
    pthread_mutex_unlock(&pool.callers);
}
