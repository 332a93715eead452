/* A disk that is slow and keeps a diary. Preloaded into Redis, it delays the end of each sync of the append-only file
 * by SYNC_DELAY_MS and then adds a line to SYNC_LOG: when the sync ended (ms since the epoch), and how many bytes of the
 * file it has made safe: those that were there when it began. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd) {
    int (*sync_now)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (!strstr(path, ".incr.aof")) return sync_now(fd);

    struct stat before;
    fstat(fd, &before);
    int result = sync_now(fd);
    long delay_ms = atol(getenv("SYNC_DELAY_MS"));
    struct timespec delay = {delay_ms / 1000, delay_ms % 1000 * 1000000}, now;
    nanosleep(&delay, NULL);
    clock_gettime(CLOCK_REALTIME, &now);
    int diary = open(getenv("SYNC_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    dprintf(diary, "%.3f %lld\n", now.tv_sec * 1e3 + now.tv_nsec / 1e6, (long long)before.st_size);
    close(diary);
    return result;
}
