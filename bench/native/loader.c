/* Posts requests over connections that stay open, each waiting for its reply before it sends the next.

   loader PORT REQUESTS CONNECTIONS SECONDS

   The requests (common.h) are dealt to whichever connection is free, until they or the seconds have run out. Each
   connection has had a reply to `GET /livez`, whatever it was, before the first of them: the kernel takes connections
   that the server has not accepted yet, and servers on libuv accept one per turn of their loop. Prints one line of
   JSON. */
#include "common.h"

enum { REPLY_MAX = 16384, LAST_WAIT_US = 10000000 };
enum { DIALLING, GREETING, FREE, BUSY };

static const char GREET[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

typedef struct {
    int fd, state;
    size_t sending, sent, got; /* which request, and how far it and its reply are */
    uint64_t began;
    char reply[REPLY_MAX + 1];
} line;

static request *requests;
static size_t count, next_request, under_way, ok, refused, broken;
static int poller, port, greeted;
static uint64_t until, last_reply; /* `until` is 0 while connections are being opened */
static line *lines;
static uint32_t *samples;

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

static void begin(line *one, int which) {
    one->state = FREE;
    if (next_request == count || now_us() >= until) return;
    one->sending = next_request++;
    one->sent = one->got = 0;
    one->began = now_us();
    one->state = BUSY;
    under_way++;
    push(one, which);
}

static void settle(line *one, int status) {
    under_way--;
    last_reply = now_us();
    if (status >= 200 && status < 300) samples[ok++] = (uint32_t)(last_reply - one->began);
    else if (status) refused++;
    else broken++;
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
    one->got += (size_t)got;
    int status = status_of(one->reply, one->got);
    if (!status) return;
    if (one->state == BUSY) settle(one, status);
    else greeted++;
    if (until) begin(one, which);
    else one->state = FREE;
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
    if (words != 5) return fprintf(stderr, "usage: loader PORT REQUESTS CONNECTIONS SECONDS\n"), 2;
    port = atoi(word[1]);
    requests = read_requests(word[2], &count);
    int connections = atoi(word[3]);
    lines = calloc((size_t)connections, sizeof *lines);
    samples = malloc(count * sizeof *samples);
    poller = epoll_create1(0);
    if (!lines || !samples || poller < 0) die("setup");
    for (int which = 0; which < connections; which++) dial(which);
    while (greeted < connections) turn(-1);
    uint64_t began = now_us();
    double cpu_before = cpu_s();
    until = began + (uint64_t)(atof(word[4]) * 1e6);
    for (int which = 0; which < connections; which++) begin(&lines[which], which);
    while (under_way && now_us() < until + LAST_WAIT_US) turn(100);
    double took = (double)((last_reply ? last_reply : now_us()) - began) / 1e6;
    printf("{\"connections\":%d,\"ok\":%zu,\"refused\":%zu,\"broken\":%zu,\"seconds\":%.6f,\"cpu_s\":%.6f,", connections,
        ok, refused, broken + under_way, took, cpu_s() - cpu_before);
    print_percentiles(samples, ok);
    printf("}\n");
    return 0;
}
