/* Posts requests over connections that stay open, each waiting for its reply before it takes the next.

   loader PORT REQUESTS CONNECTIONS SECONDS [RATE]

   The requests (common.h) are dealt to whichever connection is free, until they or the seconds have run out: as fast as
   the connections allow, or so many a second by the clock, whether or not those before have been answered. Then a delay
   counts from the moment at which the request was due, and a request that finds no connection free is not sent: a
   connection is a person, all of them still wait for a reply, and each of those waits is counted in full. Sent later, it
   would count a queue of the loader's own. A connection on which an event stream opens is held. Each has had a reply to `GET /livez`, whatever it was, before the first request: the kernel
   takes connections that the server has not accepted yet, and servers on libuv accept one per turn of their loop.
   Prints one line of JSON. `standing` are the requests that were due after the first second, when a burst is over. */
#include "common.h"

enum { REPLY_MAX = 16384, LAST_WAIT_US = 10000000, BURST_US = 1000000 };
enum { DIALLING, GREETING, FREE, BUSY, HELD };

static const char GREET[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

typedef struct {
    int fd, state;
    size_t sending, sent, got; /* which request, and how far it and its reply are */
    uint64_t began;
    char reply[REPLY_MAX + 1];
} line;

static request *requests;
static size_t count, next_request, unsent, under_way, ok, stood, refused, broken;
static int poller, port, greeted, connections;
static double rate; /* 0: as fast as the connections allow */
static uint64_t start, until, last_reply;
static line *lines;
static int *free_lines; /* a ring: who has been free for longest is next */
static size_t freed, taken;
static uint32_t *samples, *standing, *refusals;

static void dial(int which) {
    lines[which].fd = connect_to(port);
    lines[which].state = DIALLING;
    lines[which].got = 0;
    watch(poller, EPOLL_CTL_ADD, lines[which].fd, EPOLLOUT, (uint64_t)which);
}

static void push(line *one, int which) {
    request what = requests[one->sending];
    ssize_t gone = send(one->fd, what.bytes + one->sent, what.length - one->sent, MSG_NOSIGNAL);
    if (gone > 0) one->sent += (size_t)gone;
    if (one->sent < what.length) watch(poller, EPOLL_CTL_MOD, one->fd, EPOLLIN | EPOLLOUT, (uint64_t)which);
}

static void set_free(int which) {
    lines[which].state = FREE;
    lines[which].got = 0;
    free_lines[freed++ % (size_t)connections] = which;
}

static uint64_t due(size_t which) { return rate > 0 ? start + (uint64_t)((double)which / rate * 1e6) : start; }

/* Give the free connections what is due. */
static void deal(void) {
    for (uint64_t now = now_us(); now < until && next_request < count && due(next_request) <= now; next_request++) {
        if (taken == freed) {
            if (rate <= 0) return;
            unsent++;
            continue;
        }
        int which = free_lines[taken++ % (size_t)connections];
        line *one = &lines[which];
        one->began = rate > 0 ? due(next_request) : now;
        one->sending = next_request;
        one->sent = 0;
        one->state = BUSY;
        under_way++;
        push(one, which);
    }
}

static void settle(line *one, int status) {
    under_way--;
    last_reply = now_us();
    uint32_t delay = (uint32_t)(last_reply - one->began);
    if (status >= 200 && status < 300) {
        samples[ok++] = delay;
        if (one->began >= start + BURST_US) standing[stood++] = delay;
    } else if (status) refusals[refused++] = delay;
    else broken++;
}

/* Whether a reply has begun that is an event stream. */
static int streaming(line *one) {
    if (requests[one->sending].bytes[0] != 'G') return 0;
    one->reply[one->got] = 0;
    return strstr(one->reply, "\r\n\r\n") && strstr(one->reply, "text/event-stream");
}

static void receive(line *one, int which) {
    ssize_t got = recv(one->fd, one->reply + one->got, REPLY_MAX - one->got, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        close(one->fd);
        if (one->state == BUSY) settle(one, 0);
        dial(which);
        return;
    }
    if (one->state == HELD) return;
    one->got += (size_t)got;
    if (one->state == BUSY && streaming(one)) {
        settle(one, 200);
        one->state = HELD;
        one->got = 0;
        return;
    }
    int status = status_of(one->reply, one->got);
    if (!status) return;
    if (one->state == BUSY) settle(one, status);
    else greeted++;
    set_free(which);
}

static void turn(int timeout_ms) {
    struct epoll_event ready[512];
    int some = epoll_wait(poller, ready, 512, timeout_ms);
    for (int place = 0; place < some; place++) {
        int which = (int)ready[place].data.u64;
        line *one = &lines[which];
        if (one->state == DIALLING) {
            send(one->fd, GREET, sizeof GREET - 1, MSG_NOSIGNAL);
            one->state = GREETING;
            watch(poller, EPOLL_CTL_MOD, one->fd, EPOLLIN, (uint64_t)which);
            continue;
        }
        if (ready[place].events & EPOLLOUT) {
            watch(poller, EPOLL_CTL_MOD, one->fd, EPOLLIN, (uint64_t)which);
            push(one, which);
        }
        if (ready[place].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(one, which);
    }
}

int main(int words, char **word) {
    if (words != 5 && words != 6) return fprintf(stderr, "usage: loader PORT REQUESTS CONNECTIONS SECONDS [RATE]\n"), 2;
    port = atoi(word[1]);
    requests = read_requests(word[2], &count);
    connections = atoi(word[3]);
    rate = words == 6 ? atof(word[5]) : 0;
    lines = calloc((size_t)connections, sizeof *lines);
    free_lines = malloc((size_t)connections * sizeof *free_lines);
    samples = malloc(count * sizeof *samples);
    standing = malloc(count * sizeof *standing);
    refusals = malloc(count * sizeof *refusals);
    poller = epoll_create1(0);
    if (!lines || !free_lines || !samples || !standing || !refusals || poller < 0) die("setup");
    for (int which = 0; which < connections; which++) dial(which);
    while (greeted < connections) turn(-1);
    start = now_us();
    double cpu_before = cpu_s();
    until = start + (uint64_t)(atof(word[4]) * 1e6);
    for (;;) {
        deal();
        uint64_t now = now_us();
        int more = next_request < count && now < until;
        if (!under_way && !more) break;
        if (now >= until + LAST_WAIT_US) break;
        turn(rate > 0 && more ? 1 : 100);
    }
    double took = (double)((last_reply ? last_reply : now_us()) - start) / 1e6;
    printf("{\"connections\":%d,\"sent\":%zu,\"ok\":%zu,\"refused\":%zu,\"broken\":%zu,", connections,
        next_request - unsent, ok, refused, broken + under_way);
    printf("\"seconds\":%.6f,\"cpu_s\":%.6f,", took, cpu_s() - cpu_before);
    print_percentiles(samples, ok);
    printf(",\"standing\":{");
    print_percentiles(standing, stood);
    printf("},\"refusal\":{");
    print_percentiles(refusals, refused);
    printf("}}\n");
    return 0;
}
