/* System calls of followed processes. A call about a file descriptor is recorded when the descriptor is a TCP socket;
 * calls that wait (poll, epoll_wait, futex, sleep) always are. */

/* what the map from number to call says about it, besides its index */
#define CALL_INDEX 0xff
#define CALL_FD 0x100                                       /* the first argument is the descriptor it is about */
#define CALL_DATA 0x200                                     /* moves the queues of the socket */
#define CALL_EPOLL 0x400                                    /* the first argument is an epoll instance */
BPF_ARRAY(calls, u32, MAX_NUMBER);

struct call { u64 sk; u64 cookie; s32 fd; u32 what; };

/* Thread -> the call it is in. Where there is a compare-and-swap (as in table.c) it stands in a place that the thread's
 * number chooses, and threads that find theirs taken are in a map; else all are, in entries that stay (what 0: none): to
 * make and delete one for each call takes longer than all the rest. */
BPF_TABLE("lru_hash", u32, struct call, under_way, 16384);
#if CAST
#define CALL_PLACES 16384
struct call_place { u64 thread; u64 spilled; struct call call; };
BPF_ARRAY(call_places, struct call_place, CALL_PLACES);
static __always_inline struct call_place *call_place(u32 tid)
{
    u32 at = tid % CALL_PLACES;
    return call_places.lookup(&at);
}
#endif

static __always_inline void begin(u32 tid, struct call *c)
{
#if CAST
    struct call_place *p = call_place(tid);
    if (!p)
        return;
    u64 who = *(volatile u64 *)&p->thread;
    if (who == tid || (!who && __sync_val_compare_and_swap(&p->thread, 0, tid) == 0)) {
        p->call = *c;
        return;
    }
    p->spilled = 1;
#endif
    struct call *slot = under_way.lookup(&tid);
    if (slot)
        *slot = *c;
    else
        under_way.update(&tid, c);
}

/* Whether it was in this call: then c is what is known of it. */
static __always_inline int end(u32 tid, u32 what, struct call *c)
{
#if CAST
    struct call_place *p = call_place(tid);
    if (!p)
        return 0;
    if (p->thread == tid) {
        *c = p->call;
        *(volatile u64 *)&p->thread = 0;
        return c->what == what;
    }
    if (!p->spilled)
        return 0;
#endif
    struct call *slot = under_way.lookup(&tid);
    if (!slot || slot->what != what)
        return 0;
    *c = *slot;
    slot->what = 0;
    return 1;
}

/* files_lookup_fd_raw(): struct file of a descriptor of the current process, 0 if there is none */
static __always_inline u64 file_of(s32 fd)
{
    if (fd < 0)
        return 0;
    u64 files = task_files(current_task(), 0);
    u64 fdt = files ? files_fdt(files, 0) : 0;
    if (!fdt || (u32)fd >= fdt_max_fds(fdt, 0))
        return 0;
    return read_u64(fdt_fd(fdt, 0) + (u32)fd * 8ULL);
}

/* The TCP socket behind a descriptor, 0 if it is none. S_IFSOCK: private_data is its struct socket (sock_alloc_file). */
static __always_inline u64 sock_of(s32 fd)
{
    u64 file = file_of(fd);
    if (!file || (inode_mode(file_inode(file, 0), 0) & 0170000) != 0140000)
        return 0;
    u64 sk = socket_sk(file_private(file, 0), 0);
    if (!sk || sk_protocol(sk, 0) != 6)
        return 0;
    u16 family = skc_family(sk, 0);
    return family == 2 || family == 10 ? sk : 0;
}

/* A socket reached through a call: known, or its process is followed and it is taken in. */
static __always_inline u64 cookie_of_call(u64 sk, int current)
{
    struct followed *f = followed_sock(sk, 0);
    if (!f && current)
        f = follow(sk, skc_cookie(sk, 0));
    if (f) {
        u8 state = skc_state(sk, 0);
        if (!f->learned || state == TCP_LISTEN)             /* every packet that leaves learns the tuple, too */
            learn(f, sk, state, 0);
        if (state == TCP_LISTEN)
            note_listener(sk);
    }
    return f ? f->cookie : 0;
}

/* By place: a process is met by a socket that it uses. From then on its waiting and its threads are followed too, not
 * before: most of a machine's processes have nothing to do with TCP. */
static __always_inline void met(u32 tgid)
{
    u8 *how = how_of(tgid);
    if (how && !*how)
        *how = FOLLOW;
}

static __always_inline int examine(struct call *c, u32 what, s32 fd, u64 regs)
{
    int current = plain(followed_current());
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    c->what = what;
    c->fd = -1;
    c->sk = c->cookie = 0;
    if (what & CALL_FD) {
        struct settings *s = asked_for();
        if (!s || (!current && (!(s->by_port | s->by_cgroup) || tgid == s->ourselves)))
            return 0;
        c->fd = fd;
        c->sk = sock_of(fd);
        if (!c->sk && (what & CALL_INDEX) == CALL_SPLICE)   /* from a pipe into a socket */
            c->sk = sock_of(c->fd = regs_arg2(regs, TYPED));
        c->sk = plain(c->sk);
        if (!c->sk)
            return 0;
        c->cookie = cookie_of_call(c->sk, current);
        if (!current && !socket_entry(c->sk))
            return 0;
        met(tgid);
        return 1;
    }
    if (what & CALL_EPOLL)
        c->fd = fd;
    return (what & CALL_INDEX) == CALL_SOCKET ? current : followed_task(tgid) != 0;
}

#define SOL_TLS 282                                         /* include/linux/socket.h */
#define TCP_FASTOPEN_KEY 33                                 /* include/uapi/linux/tcp.h */
#define FIONBIO 0x5421                                      /* include/uapi/asm-generic/ioctls.h */

/* What an option is set to, at most 8 bytes: the fourth argument only says where it lies. Keys are nobody's business. */
static __always_inline u64 value_of(u32 call, u64 regs)
{
    u64 from = regs_arg3(regs, TYPED), bytes = regs_arg4(regs, TYPED), value = 0;
    u32 level = regs_arg1(regs, TYPED);
    if (call == CALL_IOCTL) {
        from = regs_arg2(regs, TYPED);
        bytes = level == FIONBIO ? 4 : 0;
    } else if (level == SOL_TLS || (u32)regs_arg2(regs, TYPED) == TCP_FASTOPEN_KEY) {
        return 0;
    }
    if (bytes >= 8)
        bpf_probe_read_user(&value, 8, (void *)from);
    else if (bytes >= 4)
        bpf_probe_read_user(&value, 4, (void *)from);
    else if (bytes)
        bpf_probe_read_user(&value, 1, (void *)from);
    return value;
}

int on_sys_enter(volatile u64 *ctx)
{
    u32 number = ctx[1];
    u32 *what = number < MAX_NUMBER ? calls.lookup(&number) : NULL;
    if (!what || !*what)
        return 0;
    u64 regs = ctx[0];
    struct call c = {};
    u64 arg0 = regs_arg0(regs, TYPED);
    if (!examine(&c, *what, arg0, regs))
        return 0;
    if ((*what & CALL_INDEX) == CALL_SOCKET) {
        /* only TCP: domain AF_INET or AF_INET6, type SOCK_STREAM below the flags */
        if ((arg0 != 2 && arg0 != 10) || (regs_arg1(regs, TYPED) & 15) != 1)
            return 0;
    }
    u32 tid = bpf_get_current_pid_tgid();
    begin(tid, &c);
    struct syscall_enter *e = small_record();
    if (!e)
        return lost(SMALL);
    head(&e->head, SYSCALL_ENTER, c.sk, c.cookie, c.fd);
    e->call = c.what & CALL_INDEX;
    e->args[0] = arg0;
    e->args[1] = regs_arg1(regs, TYPED);
    e->args[2] = regs_arg2(regs, TYPED);
    u32 call = c.what & CALL_INDEX;
    e->args[3] = call == CALL_SETSOCKOPT || call == CALL_IOCTL ? value_of(call, regs) : regs_arg3(regs, TYPED);
    small_done(e);
    return 0;
}

struct user_event { u32 events; u64 data; } __attribute__((packed));
struct user_event_aligned { u32 events; u64 data; };
#if PACKED_EPOLL
#define USER_EVENT struct user_event                        /* include/uapi/linux/eventpoll.h: packed on x86-64 only */
#else
#define USER_EVENT struct user_event_aligned
#endif

static __always_inline int epoll_control(struct call *c, u64 regs, s32 target, u64 sk, u64 cookie, u64 ep)
{
    u32 op = regs_arg1(regs, TYPED);
    u64 from = regs_arg3(regs, TYPED);
    USER_EVENT want = {};
    if (op != 2)                                            /* EPOLL_CTL_DEL has no event */
        bpf_probe_read_user(&want, sizeof(want), (void *)from);
    struct epoll_ctl *e = small_record();
    if (!e)
        return lost(SMALL);
    head(&e->head, EPOLL_CTL, sk, cookie, target);
    e->ep = ep;
    e->data = want.data;
    e->epfd = c->fd;
    e->op = op;
    e->events = want.events;
    small_done(e);
    return 0;
}

static __always_inline int epoll_result(struct call *c, u64 regs, s64 ret, u64 ep)
{
    u64 from = regs_arg1(regs, TYPED);
    struct epoll_wait *e = object_record();
    if (!e)
        return lost(OBJECT);
    head(&e->head, EPOLL_WAIT, 0, 0, c->fd);
    e->ep = ep;
    e->epfd = c->fd;
    e->n = ret;
    for (int i = 0; i < MAX_READY; i++) {
        USER_EVENT got = {};
        if (i < ret)
            bpf_probe_read_user(&got, sizeof(got), (void *)(from + i * sizeof(got)));
        e->events[i] = got.events;
        e->data[i] = got.data;
    }
    object_done(e);
    return 0;
}

/* What the call has left behind in the socket. accept() has also taken a child: the listener's queue is one shorter.
 * Both kinds begin with the same fields. */
static __always_inline int queues(struct call *c, int took, s32 fd, u64 child, u64 child_cookie)
{
    struct accept_taken *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, took ? ACCEPT_TAKEN : SOCKET_QUEUES, c->sk, c->cookie, c->fd);
    snapshot((void *)e, c->sk, c->sk, 0, 0);
    e->child = child;
    e->child_cookie = child_cookie;
    e->child_fd = fd;
    socket_done(e);
    return 0;
}

/* tracer.kernel.seed shows us a socket of another process: a call of ours whose answer goes to the known address. */
static __always_inline int shown(u64 regs)
{
    struct settings *s = asked_for();
    if (!s || (u32)(bpf_get_current_pid_tgid() >> 32) != s->ourselves || regs_arg3(regs, TYPED) != s->token)
        return 0;
    u64 sk = sock_of(regs_arg0(regs, TYPED));
    if (sk)
        cookie_of_call(sk, 1);
    return 1;
}

/* In the place of on_sys_exit where calls are not asked for, and only while sockets are being shown. */
int on_shown(volatile u64 *ctx)
{
    u64 regs = ctx[0];
    u32 number = regs_nr(regs, TYPED);
    u32 *known = number < MAX_NUMBER ? calls.lookup(&number) : NULL;
    if (known && (*known & CALL_INDEX) == CALL_GETSOCKOPT)
        shown(regs);
    return 0;
}

/* The registers still hold the arguments (x86-64, arm64 but for the first). */
int on_sys_exit(volatile u64 *ctx)
{
    u64 regs = ctx[0];
    s64 ret = ctx[1];
    struct here *at = here();
    if (at)
        at->packet = at->ready = 0;                         /* back to the program: a task's own doing */
    u32 tid = bpf_get_current_pid_tgid(), number = regs_nr(regs, TYPED);
    u32 *known = number < MAX_NUMBER ? calls.lookup(&number) : NULL;
    if (!known || !*known)
        return 0;
    u32 what = *known, call = what & CALL_INDEX;
    struct call c = {};
    if (end(tid, what, &c)) {
        struct followed *f = c.sk && !c.cookie ? socket_entry(c.sk) : NULL;
        if (f)
            c.cookie = f->cookie;                           /* connect() and listen() give it one */
    } else if (call == CALL_SOCKET || !examine(&c, what, regs_arg0(regs, TYPED), regs)) {
        return 0;                                           /* not followed, or begun before we came and about nothing */
    }
    /* the second descriptor that some calls are about */
    int accepts = call == CALL_ACCEPT || call == CALL_ACCEPT4;
    s32 other = -1;
    if (call == CALL_SOCKET || accepts)
        other = ret;
    else if (call == CALL_EPOLL_CTL)
        other = regs_arg2(regs, TYPED);
    call = plain(call);
    u64 other_sk = plain(sock_of(other));
    u64 other_cookie = other_sk ? cookie_of_call(other_sk, 1) : 0;
    other_sk = plain(other_sk);
    accepts = call == CALL_ACCEPT || call == CALL_ACCEPT4;
    if (call == CALL_SOCKET && other_sk) {
        met(bpf_get_current_pid_tgid() >> 32);
        c.fd = other;
        c.sk = other_sk;
        c.cookie = other_cookie;
    }
    struct syscall_exit *e = small_record();
    if (!e) {
        lost(SMALL);
    } else {
        head(&e->head, SYSCALL_EXIT, c.sk, c.cookie, c.fd);
        e->call = call;
        e->ret = ret;
        e->arg1 = regs_arg1(regs, TYPED);
        e->arg2 = regs_arg2(regs, TYPED);
        small_done(e);
    }
    if (what & CALL_EPOLL) {
        u64 file = file_of(c.fd), ep = file ? file_private(file, 0) : 0;
        if (call != CALL_EPOLL_CTL)
            return epoll_result(&c, regs, ret, ep);
        return ret ? 0 : epoll_control(&c, regs, other, other_sk, other_cookie, ep);
    }
    int took = accepts && ret >= 0;
    if (c.sk && (took || ((what & CALL_DATA) && (c.cookie || socket_entry(c.sk)))))
        return queues(&c, took, other, other_sk, other_cookie);
    return 0;
}
