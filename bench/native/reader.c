/* Reads many event streams and says how long after its publication each event was received on each of them.

   reader PORT REQUESTS sse|socketio EVENTS WARMUP

   REQUESTS has one request per stream (common.h). An event carries `~t` and the 16 digits of the microsecond of its
   publication somewhere in its text. Prints `open N` when all streams are, a line `event …` when one has reached all
   of them, and after EVENTS events, or when its input ends, a line of JSON about those after the first WARMUP. */
#include "common.h"
#include <poll.h>

enum { OPENING_AT_ONCE = 128, DIGITS = 16, CARRY = DIGITS + 1, BUFFER = 65536, EVENTS_MAX = 1000 };
enum { CONNECTING, ASKED, WELCOMED, OPEN };

typedef struct {
    int fd;
    uint8_t state, carried;
    char carry[CARRY]; /* the end of what came last: a mark may be cut in two */
} stream;

typedef struct {
    uint64_t at;
    uint32_t received, last_us;
} event;

static request *requests;
static stream *streams;
static size_t count, opened, asked;
static int poller, port, is_socketio, warmup, events_wanted, known;
static uint64_t opened_at;
static event events[EVENTS_MAX];
static uint32_t *samples;
static size_t sampled;
static double cpu_before;

static void open_next(void) {
    if (asked == count) return;
    stream *one = &streams[asked];
    one->fd = connect_to(port);
    watch(poller, EPOLL_CTL_ADD, one->fd, EPOLLOUT, asked++);
}

static void is_open(stream *one) {
    one->state = OPEN;
    if (++opened == count) {
        opened_at = now_us();
        printf("open %zu\n", opened);
        fflush(stdout);
    }
    open_next();
}

static void saw(uint64_t at, uint64_t now) {
    if (!opened_at || at < opened_at) return; /* part of a snapshot */
    int place = known - 1;
    while (place >= 0 && events[place].at != at) place--;
    if (place < 0) {
        if (known == EVENTS_MAX) return;
        if (known == warmup) cpu_before = cpu_s();
        events[place = known++].at = at;
    }
    event *one = &events[place];
    one->last_us = (uint32_t)(now - at);
    if (place >= warmup && sampled < count * (size_t)events_wanted) samples[sampled++] = one->last_us;
    if (++one->received == count) {
        printf("event %u\n", one->last_us);
        fflush(stdout);
    }
}

static void reply(stream *one, const char *text, size_t length) { /* a masked text frame, as clients have to send */
    char frame[16] = {(char)0x81, (char)(0x80 | length)};
    memcpy(frame + 6, text, length); /* the mask is 0 */
    if (send(one->fd, frame, 6 + length, MSG_NOSIGNAL) < 0) die("send");
}

static void greet(stream *one, const char *bytes, size_t length) {
    if (one->state == ASKED) {
        const char *wanted = is_socketio ? "HTTP/1.1 101" : "HTTP/1.1 200";
        if (length < 12 || memcmp(bytes, wanted, 12)) {
            fprintf(stderr, "a stream was refused: %.*s\n", (int)(length < 200 ? length : 200), bytes);
            exit(1);
        }
        one->state = WELCOMED;
        if (!is_socketio) is_open(one);
    }
    if (one->state == WELCOMED) {
        if (memmem(bytes, length, "40{\"sid\"", 8)) is_open(one);
        else if (memmem(bytes, length, "0{\"sid\"", 7)) reply(one, "40", 2);
    }
}

static void look(stream *one, const char *bytes, size_t length, uint64_t now) {
    if (one->state != OPEN) greet(one, bytes, length);
    for (const char *at = bytes, *end = bytes + length; (at = memmem(at, (size_t)(end - at), "~t", 2)); at += 2) {
        if (at + 2 + DIGITS > end) break;
        saw(strtoull(at + 2, NULL, 10), now);
    }
    /* Engine.IO's ping is a text frame `2`; no JSON has its first two bytes in it. */
    if (is_socketio && memmem(bytes, length, "\x81\x01\x32", 3)) reply(one, "3", 1);
}

static int receive(stream *one) {
    static char buffer[CARRY + BUFFER + 1];
    for (;;) {
        char *start = buffer + CARRY - one->carried;
        ssize_t got = recv(one->fd, buffer + CARRY, BUFFER, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
        if (got <= 0) return 0;
        size_t length = one->carried + (size_t)got;
        memcpy(start, one->carry, one->carried);
        start[length] = 0;
        look(one, start, length, now_us());
        /* Carry on from a mark that is not complete, and from nothing else, so that nothing is seen twice. */
        const char *mark = memrchr(start, '~', length);
        size_t rest = mark ? (size_t)(start + length - mark) : 0;
        one->carried = rest <= CARRY ? (uint8_t)rest : 0;
        memcpy(one->carry, start + length - one->carried, one->carried);
        if (got < BUFFER) return 1; /* level-triggered: what may have come meanwhile is announced again */
    }
}

static int finished(void) {
    return known >= events_wanted + warmup && events[known - 1].received >= count;
}

static void report(void) {
    size_t received = 0;
    for (int place = warmup; place < known; place++) received += events[place].received;
    int counted = known > warmup ? known - warmup : 0;
    printf("{\"streams\":%zu,\"events\":%d,\"received\":%zu,\"cpu_s\":%.6f,", count, counted, received,
        counted ? cpu_s() - cpu_before : 0);
    print_percentiles(samples, sampled);
    printf("}\n");
}

int main(int words, char **word) {
    if (words != 6) return fprintf(stderr, "usage: reader PORT REQUESTS sse|socketio EVENTS WARMUP\n"), 2;
    port = atoi(word[1]);
    requests = read_requests(word[2], &count);
    is_socketio = !strcmp(word[3], "socketio");
    events_wanted = atoi(word[4]);
    warmup = atoi(word[5]);
    streams = calloc(count, sizeof *streams);
    samples = malloc(count * (size_t)events_wanted * sizeof *samples);
    poller = epoll_create1(0);
    if (!streams || !samples || poller < 0) die("setup");
    memset(samples, 0, count * (size_t)events_wanted * sizeof *samples); /* its pages are there before it matters */
    for (int place = 0; place < OPENING_AT_ONCE; place++) open_next();
    watch(poller, EPOLL_CTL_ADD, 0, EPOLLIN, UINT64_MAX);
    while (!finished()) {
        struct epoll_event ready[512];
        int some = epoll_wait(poller, ready, 512, -1);
        for (int place = 0; place < some; place++) {
            if (ready[place].data.u64 == UINT64_MAX) {
                report();
                return 0;
            }
            size_t which = ready[place].data.u64;
            stream *one = &streams[which];
            if (one->state == CONNECTING) {
                if (send(one->fd, requests[which].bytes, requests[which].length, MSG_NOSIGNAL) < 0) die("send");
                one->state = ASKED;
                watch(poller, EPOLL_CTL_MOD, one->fd, EPOLLIN, which);
            } else if (!receive(one)) {
                if (one->state != OPEN) return fprintf(stderr, "a stream was closed while opening\n"), 1;
                epoll_ctl(poller, EPOLL_CTL_DEL, one->fd, NULL); /* its missing events show in `received` */
                close(one->fd);
            }
        }
    }
    report();
    return 0;
}
