/* Counts the bytes that a process holds from its allocator, and their peak. Loaded before the C library:
 *
 *     cc -O2 -shared -fPIC -o allocations.so allocations.c
 *     LD_PRELOAD=./allocations.so python …
 *
 * A block counts with its usable size, which is what was asked for rounded up to 16 bytes or, for large ones, pages.
 * glibc only: its allocator is reached under the names that it exports for this (__libc_malloc …).
 */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static _Atomic long held, peak;

static void *taken(void *block) {
    if (block == NULL) return block;
    long now = atomic_fetch_add(&held, (long)malloc_usable_size(block)) + (long)malloc_usable_size(block);
    long most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {
    }
    return block;
}

static void given_back(void *block) {
    if (block != NULL) atomic_fetch_sub(&held, (long)malloc_usable_size(block));
}

void *malloc(size_t size) { return taken(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return taken(__libc_calloc(count, size)); }
void *memalign(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    void *found = taken(__libc_memalign(alignment, size));
    if (found == NULL) return ENOMEM;
    *block = found;
    return 0;
}

void *realloc(void *block, size_t size) {
    long before = block == NULL ? 0 : (long)malloc_usable_size(block);
    void *found = __libc_realloc(block, size);
    if (found != NULL || size == 0) atomic_fetch_sub(&held, before);
    return taken(found);
}

void free(void *block) {
    given_back(block);
    __libc_free(block);
}

/* Forget the peak so far; return the bytes held now. */
long allocations_start(void) {
    long now = atomic_load(&held);
    atomic_store(&peak, now);
    return now;
}

/* Return the most bytes that were held since the start. */
long allocations_peak(void) { return atomic_load(&peak); }
