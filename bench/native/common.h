/* What the programs share: a clock, sockets that do not block, files of requests, replies, figures. */
#ifndef QUIZCAST_BENCH_COMMON_H
#define QUIZCAST_BENCH_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* Microseconds of CLOCK_MONOTONIC: one clock for all processes of a machine, Python's time.monotonic_ns() too. */
static inline uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* CPU seconds of this process so far, in user space and in the kernel. */
static inline double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
        + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline int connect_to(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    /* A reset instead of TIME_WAIT: ten thousand lines per run would use up the ports. */
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct sockaddr_in address = loopback(port);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
    return fd;
}

static inline void watch(int poll, int how, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    if (epoll_ctl(poll, how, fd, &event) < 0) die("epoll_ctl");
}

typedef struct {
    const char *bytes;
    uint32_t length;
} request;

/* A file of requests, each after its length in four bytes, the lowest first. */
static inline request *read_requests(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    struct stat about;
    if (!file || fstat(fileno(file), &about) < 0) die(path);
    char *bytes = malloc((size_t)about.st_size);
    if (!bytes || fread(bytes, 1, (size_t)about.st_size, file) != (size_t)about.st_size) die(path);
    fclose(file);
    request *found = NULL;
    *count = 0;
    for (size_t at = 0, room = 0; at + 4 <= (size_t)about.st_size; (*count)++) {
        if (*count == room && !(found = realloc(found, (room = room * 2 + 1024) * sizeof *found))) die("realloc");
        uint32_t length;
        memcpy(&length, bytes + at, 4);
        found[*count] = (request){bytes + at + 4, length};
        at += 4 + length;
    }
    return found;
}

/* The status of a reply when all of it is there, or 0. There has to be room for a byte behind it. */
static inline int status_of(char *reply, size_t got) {
    reply[got] = 0;
    char *head_end = strstr(reply, "\r\n\r\n");
    if (!head_end) return 0;
    size_t body = got - (size_t)(head_end + 4 - reply);
    char *length = strcasestr(reply, "\r\ncontent-length:");
    if (length && length < head_end) {
        if (body < strtoul(length + 17, NULL, 10)) return 0;
    } else if (!strstr(head_end, "0\r\n\r\n")) { /* chunked */
        return 0;
    }
    return atoi(reply + 9);
}

static inline int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* `"p50_us":…,"p99_us":…,"max_us":…` of so many samples, which are sorted by it. */
static inline void print_percentiles(uint32_t *samples, size_t count) {
    if (!count) {
        printf("\"p50_us\":0,\"p99_us\":0,\"max_us\":0");
        return;
    }
    qsort(samples, count, sizeof *samples, by_size);
    printf("\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u", samples[count / 2], samples[(size_t)((double)count * 0.99)],
        samples[count - 1]);
}

#endif
