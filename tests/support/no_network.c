/* Preloaded into a command and its children: names are not looked up, nothing leaves this machine, and each
   attempt is a line in the file $LOOKUP_LOG. Listening anywhere but on loopback is logged, too, and allowed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *what, const char *name) {
    char line[600];
    const char *log = getenv("LOOKUP_LOG");
    int length = snprintf(line, sizeof line, "%s %s (%s)\n", what, name ? name : "?", program_invocation_short_name);
    int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (file < 0) return;
    if (write(file, line, length < (int)sizeof line ? length : (int)sizeof line) < 0) { /* nobody to tell */ }
    close(file);
}

static int is_address(const char *name) {
    unsigned char bytes[16];
    return !name || !*name || inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int stays_here(const char *name) {
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    return is_address(name) || !strcmp(name, "localhost") || !strcmp(name, own);
}

/* A socket's address on another machine, as text; NULL where it is of this one, or no internet address. */
static const char *find_outside(const struct sockaddr *address, char *text) {
    if (address && address->sa_family == AF_INET) {
        const struct in_addr *in = &((const struct sockaddr_in *)address)->sin_addr;
        if (ntohl(in->s_addr) >> 24 == 127) return NULL;
        return inet_ntop(AF_INET, in, text, INET6_ADDRSTRLEN);
    }
    if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *in = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(in) || (IN6_IS_ADDR_V4MAPPED(in) && in->s6_addr[12] == 127)) return NULL;
        return inet_ntop(AF_INET6, in, text, INET6_ADDRSTRLEN);
    }
    return NULL;
}

static int refuse(const char *what, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN];
    const char *outside = find_outside(address, text);
    if (!outside) return 0;
    note(what, outside);
    errno = ENETUNREACH;
    return 1;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    if (stays_here(name)) return real(name, service, hints, found);
    note("look-up", name);
    return EAI_NONAME;
}

struct hostent *gethostbyname(const char *name) {
    struct hostent *(*real)(const char *) = dlsym(RTLD_NEXT, "gethostbyname");
    if (stays_here(name)) return real(name);
    note("look-up", name);
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

int gethostbyname_r(const char *name, struct hostent *made, char *buffer, size_t size, struct hostent **found, int *error) {
    int (*real)(const char *, struct hostent *, char *, size_t, struct hostent **, int *) = dlsym(RTLD_NEXT, "gethostbyname_r");
    if (stays_here(name)) return real(name, made, buffer, size, found, error);
    note("look-up", name);
    *found = NULL;
    *error = HOST_NOT_FOUND;
    return ENOENT;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return refuse("connection", address) ? -1 : real(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return refuse("packet", address) ? -1 : real(socket, data, size, flags, address, length);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    return refuse("packet", message->msg_name) ? -1 : real(socket, message, flags);
}

int bind(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    char text[INET6_ADDRSTRLEN];
    int kind = 0;
    socklen_t size = sizeof kind;
    const char *outside = find_outside(address, text);
    if (outside && !getsockopt(socket, SOL_SOCKET, SO_TYPE, &kind, &size) && kind == SOCK_STREAM) note("listens", outside);
    return real(socket, address, length);
}
