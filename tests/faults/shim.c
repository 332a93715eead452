/* What a test may do to a process's world: fill its disk, and step its clock. Preloaded; FAULTS names a file that holds
 * two 64-bit numbers, which the test changes: milliseconds to add to the clock, and 1 while the disk is full. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none[2];
static volatile int64_t *faults = none;

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *seen = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    if (seen != MAP_FAILED) faults = seen;
    close(file);
}

static int full(int fd) {
    struct stat about;
    if (!faults[1] || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return full(fd) ? -1 : real(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return full(fd) ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    return full(fd) ? -1 : real(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev);
    return full(fd) ? -1 : real(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return pwritev(fd, parts, count, at); }

int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    return full(fd) ? ENOSPC : real(fd, at, size);
}

int posix_fallocate64(int fd, off_t at, off_t size) { return posix_fallocate(fd, at, size); }

static void step(time_t *seconds, int64_t *rest, int64_t per_second) {
    int64_t all = *rest + faults[0] % 1000 * (per_second / 1000);
    *seconds += faults[0] / 1000 + (all >= per_second) - (all < 0);
    *rest = all + (all < 0 ? per_second : 0) - (all >= per_second ? per_second : 0);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    REAL(clock_gettime);
    int failed = real(which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t rest = now->tv_nsec;
        step(&now->tv_sec, &rest, 1000000000);
        now->tv_nsec = rest;
    }
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    REAL(gettimeofday);
    int failed = real(now, zone);
    if (!failed) {
        int64_t rest = now->tv_usec;
        step(&now->tv_sec, &rest, 1000000);
        now->tv_usec = rest;
    }
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
