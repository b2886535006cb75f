/* Events for a recorder, as cheaply as they can be had: load RATE. Two connected TCP sockets of one process; a round is
 * an echo (segments, readiness, states of queues) and ASKS questions to an empty socket (a call, its return, the
 * queues). RATE rounds a second (0: as many as possible), until standard input ends. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ASKS 20

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double rate = argc > 1 ? atof(argv[1]) : 0, began = now();
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    struct pollfd in = { .fd = 0, .events = POLLIN };
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 8) || getsockname(listener, (void *)&at, &size))
        return 1;
    for (double done = 0;;) {
        char bytes[64] = "a question of some bytes";
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (void *)&at, size))
            return 1;
        int server = accept(listener, NULL, NULL);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        for (int i = 0; i < 500; i++, done++) {
            if (send(client, bytes, 24, 0) != 24 || recv(server, bytes, sizeof bytes, 0) != 24)
                return 1;
            if (send(server, bytes, 24, 0) != 24 || recv(client, bytes, sizeof bytes, 0) != 24)
                return 1;
            for (int k = 0; k < ASKS; k++)
                recv(client, bytes, sizeof bytes, MSG_DONTWAIT);
            double ahead = rate > 0 ? (done + 1) / rate - (now() - began) : 0;
            if (ahead > 0.004) {
                struct timespec wait = { 0, (long)(ahead * 1e9) };
                nanosleep(&wait, NULL);
            }
            if (i % 50 == 0 && poll(&in, 1, 0))
                return 0;
        }
        close(client);
        close(server);
    }
}
