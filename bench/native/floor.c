/* The floor of the fan-out: an event stream server with nothing in it but epoll and a loop of send().

   floor PORT: a GET becomes a stream; the body of a POST goes to every stream as one chunk. */
#include "common.h"

enum { LINES_MAX = 20000, REQUEST_MAX = 8192 };

static const char OPENED[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
static const char TAKEN[] = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

static int streams[LINES_MAX], place_of[LINES_MAX + 64], open_streams;

static void forget(int fd) {
    if (place_of[fd]) {
        int last = streams[--open_streams];
        streams[place_of[fd] - 1] = last;
        place_of[last] = place_of[fd];
        place_of[fd] = 0;
    }
    close(fd);
}

static void publish(const char *body, size_t length) {
    static unsigned number;
    char frame[REQUEST_MAX + 128], chunk[REQUEST_MAX + 192];
    int size = snprintf(frame, sizeof frame, "id: %u\nevent: leaderboard\ndata: %.*s\n\n", ++number, (int)length, body);
    int whole = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", (unsigned)size, frame);
    for (int place = 0; place < open_streams; place++) {
        /* A full buffer would drop the event; the reader counts what it has received. */
        if (send(streams[place], chunk, (size_t)whole, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) continue;
    }
}

static void serve(int fd) {
    static char request[REQUEST_MAX + 1];
    ssize_t got = recv(fd, request, REQUEST_MAX, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        forget(fd);
        return;
    }
    request[got] = 0;
    if (!strncmp(request, "POST", 4)) { /* one write by the bench's publisher, so it is here as a whole */
        char *body = strstr(request, "\r\n\r\n");
        if (body) publish(body + 4, (size_t)(request + got - body - 4));
        send(fd, TAKEN, sizeof TAKEN - 1, MSG_NOSIGNAL);
    } else if (!place_of[fd]) {
        send(fd, OPENED, sizeof OPENED - 1, MSG_NOSIGNAL);
        streams[open_streams++] = fd;
        place_of[fd] = open_streams;
    }
}

int main(int count, char **words) {
    if (count != 2) return fprintf(stderr, "usage: floor PORT\n"), 2;
    int one = 1, door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    struct sockaddr_in address = loopback(atoi(words[1]));
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&address, sizeof address) < 0 || listen(door, 4096) < 0) die("listen");
    watch(poll, EPOLL_CTL_ADD, door, EPOLLIN, (uint64_t)door);
    for (;;) {
        struct epoll_event events[512];
        int ready = epoll_wait(poll, events, 512, -1);
        for (int place = 0; place < ready; place++) {
            int fd = (int)events[place].data.u64;
            if (fd != door) {
                serve(fd);
                continue;
            }
            while ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= LINES_MAX) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(poll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
            }
        }
    }
}
