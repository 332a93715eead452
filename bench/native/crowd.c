/* The participants of a game: each reads a stream, and answers every question once.

   crowd PORT REQUESTS QUESTIONS LINES

   REQUESTS (common.h) has for each participant the one that opens the stream, then the answer to each question. An
   answer goes out at a random moment of the second after `opens_at`, over one of so many connections that stay open: a
   participant's own, if there are enough. Prints `open N` when all streams and lines are, and when the streams have
   ended, or its input has, a line of JSON. The server's stamps are milliseconds of this machine's clock. */
#include "common.h"

enum { OPENING_AT_ONCE = 128, BUFFER = 65536, LINE_MAX = 8192, REPLY_MAX = 4096, QUESTIONS_MAX = 100 };
enum { WINDOW_MS = 1000, WHEEL = 16384 }; /* a slot per millisecond, more than the longest lead and the window */
enum { CONNECTING, ASKED, IN_HEAD, OPEN, ENDED };
enum { QUESTION, CLOSED, LEADERBOARD, FINISHED, KEPT, RESULT = KEPT, OTHER };

static const char *const NAMES[] = {"question", "closed", "leaderboard", "finished", "result"};

typedef struct {
    int fd;
    uint8_t state, name, http_length;
    char http[16]; /* the beginning of a line of HTTP's own: status, header, size of a chunk */
    uint32_t chunk_left, offset, asked_for; /* `offset` is the position of the last event, `asked_for` the question */
    size_t held;
    char *line; /* the beginning of a line of the stream that has not ended yet */
} stream;

typedef struct {
    int fd;
    uint8_t open, busy;
    size_t got;
    uint64_t began;
    char reply[REPLY_MAX + 1];
} line;

typedef struct {
    uint64_t first, last; /* when the first and the last participant could show it, in microseconds */
} reveal;

static request *requests;
static stream *streams;
static line *lines;
static size_t count, line_count, dialled, opened, ended, results, astray, waiting, accepted, refused, broken;
static size_t pushed[KEPT];
static uint32_t *pushes[KEPT], *acks;
static int poller, port, questions;
static reveal reveals[QUESTIONS_MAX];
static uint32_t wheel[WHEEL], *next; /* who answers in a slot: a chain of participants' numbers, from 1 */
static uint64_t turned_ms;

static uint64_t wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ── answers ── */

static void plan(uint32_t who, uint64_t due_ms) {
    if (!waiting) turned_ms = wall_us() / 1000;
    if (due_ms <= turned_ms) due_ms = turned_ms + 1;
    next[who] = wheel[due_ms % WHEEL];
    wheel[due_ms % WHEEL] = who + 1;
    waiting++;
}

static void answer(uint32_t who) {
    line *one = &lines[who % line_count];
    if (!one->open || one->busy) {
        plan(who, turned_ms + 1);
        return;
    }
    request what = requests[who * (size_t)(questions + 1) + 1 + streams[who].asked_for];
    one->busy = 1;
    one->got = 0;
    one->began = now_us();
    /* A line that waits for nothing has room for a request. */
    if (send(one->fd, what.bytes, what.length, MSG_NOSIGNAL) != (ssize_t)what.length) shutdown(one->fd, SHUT_RDWR);
}

static void turn_wheel(void) {
    for (uint64_t now_ms = wall_us() / 1000; waiting && turned_ms < now_ms;) {
        uint32_t who = wheel[++turned_ms % WHEEL];
        wheel[turned_ms % WHEEL] = 0;
        while (who) {
            uint32_t this = who - 1;
            who = next[this];
            waiting--;
            answer(this);
        }
    }
}

static void dial_line(size_t which) {
    lines[which].fd = connect_to(port);
    lines[which].open = 0;
    watch(poller, EPOLL_CTL_ADD, lines[which].fd, EPOLLOUT, count + which);
}

static void read_reply(size_t which) {
    line *one = &lines[which];
    ssize_t got = recv(one->fd, one->reply + one->got, REPLY_MAX - one->got, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        broken += one->busy;
        one->busy = 0;
        close(one->fd);
        dial_line(which);
        return;
    }
    one->got += (size_t)got;
    int status = status_of(one->reply, one->got);
    if (!status) return;
    one->busy = 0;
    if (status >= 200 && status < 300) acks[accepted++] = (uint32_t)(now_us() - one->began);
    else refused++;
}

/* ── streams ── */

static uint64_t number(const char *text, size_t length, const char *key) {
    const char *found = memmem(text, length, key, strlen(key));
    return found ? strtoull(found + strlen(key), NULL, 10) : 0;
}

static void asked(stream *one, const char *data, size_t length, uint64_t now) {
    uint64_t opens_ms = number(data, length, "\"opens_at\":"), index = number(data, length, "\"index\":");
    if (index >= (uint64_t)questions) return;
    uint64_t shown = now > opens_ms * 1000 ? now : opens_ms * 1000;
    reveal *this = &reveals[index];
    if (!this->first || shown < this->first) this->first = shown;
    if (shown > this->last) this->last = shown;
    one->asked_for = (uint32_t)index;
    plan((uint32_t)(one - streams), opens_ms + (uint64_t)(random() % WINDOW_MS));
}

static void event(stream *one, const char *data, size_t length, uint64_t now) {
    if (one->name == RESULT) results++;
    if (one->name >= KEPT) return;
    uint64_t stamp = number(data, length, "\"server_now_at\":") * 1000;
    size_t most = one->name == FINISHED ? count : count * (size_t)questions;
    if (pushed[one->name] == most) astray++;
    else pushes[one->name][pushed[one->name]++] = now > stamp ? (uint32_t)(now - stamp) : 0;
    if (one->name == QUESTION) asked(one, data, length, now);
}

static void stream_line(stream *one, const char *text, size_t length, uint64_t now) {
    if (length > 7 && !memcmp(text, "event: ", 7)) {
        for (one->name = 0; one->name < OTHER; one->name++)
            if (length - 7 == strlen(NAMES[one->name]) && !memcmp(text + 7, NAMES[one->name], length - 7)) break;
    } else if (length > 4 && !memcmp(text, "id: ", 4) && one->name < KEPT) {
        uint32_t offset = (uint32_t)number(text, length, "-");
        if (one->offset && offset != one->offset + 1) astray++; /* a hole, a repetition, or out of order */
        one->offset = offset;
    } else if (length > 6 && !memcmp(text, "data: ", 6)) {
        event(one, text + 6, length - 6, now);
    }
}

static void body(stream *one, const char *bytes, size_t length, uint64_t now) {
    for (const char *end; (end = memchr(bytes, '\n', length));) {
        size_t some = (size_t)(end - bytes);
        if (!one->held) stream_line(one, bytes, some, now);
        else if (one->held + some < LINE_MAX) {
            memcpy(one->line + one->held, bytes, some);
            stream_line(one, one->line, one->held + some, now);
        } else astray++;
        one->held = 0;
        length -= some + 1;
        bytes = end + 1;
    }
    if (!length || one->held + length >= LINE_MAX) return;
    if (!one->line && !(one->line = malloc(LINE_MAX))) die("malloc");
    memcpy(one->line + one->held, bytes, length);
    one->held += length;
}

static void dial_next(void) {
    if (dialled < count) {
        streams[dialled].fd = connect_to(port);
        watch(poller, EPOLL_CTL_ADD, streams[dialled].fd, EPOLLOUT, dialled);
    } else if (dialled < count + line_count) {
        dial_line(dialled - count);
    } else {
        return;
    }
    dialled++;
}

static void is_open(void) {
    if (++opened == count + line_count) {
        printf("open %zu\n", count);
        fflush(stdout);
    }
    dial_next();
}

/* A line of HTTP's own has ended: the status, a header, a chunk's size, or nothing. */
static void http_line(stream *one) {
    one->http[one->http_length] = 0;
    int empty = !one->http_length || one->http[0] == '\r';
    one->http_length = 0;
    if (one->state == ASKED) {
        if (memcmp(one->http, "HTTP/1.1 200", 12)) {
            fprintf(stderr, "a stream was refused: %s\n", one->http);
            exit(1);
        }
        one->state = IN_HEAD;
    } else if (one->state == IN_HEAD && empty) {
        one->state = OPEN;
        is_open();
    } else if (one->state == OPEN && !empty) {
        one->chunk_left = (uint32_t)strtoul(one->http, NULL, 16);
        if (!one->chunk_left) one->state = ENDED;
    }
}

static void look(stream *one, const char *bytes, size_t length, uint64_t now) {
    while (length) {
        size_t some;
        if (one->chunk_left) {
            some = length < one->chunk_left ? length : one->chunk_left;
            body(one, bytes, some, now);
            one->chunk_left -= (uint32_t)some;
        } else {
            const char *end = memchr(bytes, '\n', length);
            some = end ? (size_t)(end - bytes) + 1 : length;
            size_t kept = some - (end != NULL), room = sizeof one->http - 1 - one->http_length;
            memcpy(one->http + one->http_length, bytes, kept < room ? kept : room);
            one->http_length = (uint8_t)(one->http_length + (kept < room ? kept : room));
            if (end) http_line(one);
        }
        bytes += some;
        length -= some;
    }
}

static void read_stream(stream *one) {
    static char buffer[BUFFER + 1];
    ssize_t got = recv(one->fd, buffer, BUFFER, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) {
        buffer[got] = 0;
        look(one, buffer, (size_t)got, wall_us());
    }
    if (got <= 0 || one->state == ENDED) {
        if (opened < count + line_count) {
            fprintf(stderr, "a stream ended before all were open\n");
            exit(1);
        }
        close(one->fd); /* what it has not received shows in the counts */
        ended++;
    }
}

/* ── together ── */

static void handle(uint64_t which, uint32_t what) {
    if (which >= count) {
        line *one = &lines[which - count];
        if (one->open || what & (EPOLLERR | EPOLLHUP)) {
            read_reply(which - count);
            return;
        }
        one->open = 1;
        watch(poller, EPOLL_CTL_MOD, one->fd, EPOLLIN, which);
        if (opened < count + line_count) is_open();
    } else if (streams[which].state == CONNECTING) {
        request greeting = requests[which * (size_t)(questions + 1)];
        if (send(streams[which].fd, greeting.bytes, greeting.length, MSG_NOSIGNAL) < 0) die("send");
        streams[which].state = ASKED;
        watch(poller, EPOLL_CTL_MOD, streams[which].fd, EPOLLIN, which);
    } else {
        read_stream(&streams[which]);
    }
}

static void report(double cpu_before) {
    size_t received = 0;
    uint64_t skew = 0;
    uint32_t *all = malloc((count * (size_t)(questions * 3 + 1) + 1) * sizeof *all);
    if (!all) die("malloc");
    printf("{\"streams\":%zu,\"results\":%zu,\"astray\":%zu,\"accepted\":%zu,\"refused\":%zu,\"broken\":%zu", count, results,
        astray, accepted, refused, broken);
    for (int name = 0; name < KEPT; name++) {
        memcpy(all + received, pushes[name], pushed[name] * sizeof *all);
        received += pushed[name];
        printf(",\"%s\":{", NAMES[name]);
        print_percentiles(pushes[name], pushed[name]);
        printf("}");
    }
    for (int index = 0; index < questions; index++)
        if (reveals[index].last - reveals[index].first > skew) skew = reveals[index].last - reveals[index].first;
    printf(",\"received\":%zu,\"skew_us\":%llu,\"cpu_s\":%.6f,\"push\":{", received, (unsigned long long)skew,
        cpu_s() - cpu_before);
    print_percentiles(all, received);
    printf("},\"ack\":{");
    print_percentiles(acks, accepted);
    printf("}}\n");
}

int main(int words, char **word) {
    if (words != 5) return fprintf(stderr, "usage: crowd PORT REQUESTS QUESTIONS LINES\n"), 2;
    port = atoi(word[1]);
    questions = atoi(word[3]);
    if (questions < 1 || questions > QUESTIONS_MAX) return fprintf(stderr, "1 to %d questions\n", QUESTIONS_MAX), 2;
    requests = read_requests(word[2], &count);
    count /= (size_t)(questions + 1);
    line_count = strtoul(word[4], NULL, 10);
    streams = calloc(count, sizeof *streams);
    lines = calloc(line_count, sizeof *lines);
    next = calloc(count, sizeof *next);
    /* Set, so that their pages are there before it matters. */
    size_t samples = count * (size_t)questions;
    for (int name = 0; name < KEPT; name++)
        if ((pushes[name] = malloc(samples * sizeof **pushes))) memset(pushes[name], 1, samples * sizeof **pushes);
    if ((acks = malloc(samples * sizeof *acks))) memset(acks, 1, samples * sizeof *acks);
    poller = epoll_create1(0);
    if (!streams || !lines || !next || !acks || !pushes[FINISHED] || poller < 0) die("setup");
    for (int place = 0; place < OPENING_AT_ONCE; place++) dial_next();
    watch(poller, EPOLL_CTL_ADD, 0, EPOLLIN, UINT64_MAX);
    double cpu_before = 0;
    for (int is_going_on = 1; is_going_on && ended < count;) {
        struct epoll_event ready[512];
        int some = epoll_wait(poller, ready, 512, waiting ? 1 : -1);
        for (int place = 0; place < some; place++) {
            if (ready[place].data.u64 == UINT64_MAX) is_going_on = 0;
            else handle(ready[place].data.u64, ready[place].events);
        }
        if (opened == count + line_count && cpu_before == 0) cpu_before = cpu_s();
        turn_wheel();
    }
    report(cpu_before);
    return 0;
}
