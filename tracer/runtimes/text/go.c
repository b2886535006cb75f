/* Goroutines and poll descriptors, from inside a Go program: one program for each place where a uprobe sits.
 *
 * Go's register ABI (since 1.17): arguments in AX, BX, CX, DI; the current g in R14, at a function's RET too. What a
 * function was called with is gone at its RET, so it is kept by g from the entry on. A function whose stack has to grow
 * is entered twice (runtime.morestack begins it anew): entries only remember, and events come from RETs and from
 * functions that do not grow theirs.
 *
 * A poll descriptor's places are compared with what was last told of them, and only changes are told.
 */

#define GO_TASK 1
#define GO_POLL 2
#define GO_ASKS 3

/* why, as in tracer.runtimes.golang.WHY */
#define OPEN 1
#define RESET 2
#define PARK 3
#define TAKEN 4
#define READABLE 5
#define WRITABLE 6
#define BOTH 7
#define DEADLINE 8
#define CLOSING 9
#define CLOSE 10

/* enum of runtime2.go */
#define G_IDLE 0
#define G_RUNNABLE 1
#define G_WAITING 4
#define G_DEAD 6
#define G_COPYSTACK 8
#define G_SCAN 0x1000

#define UNKNOWN (~0ULL)
#define CLOSED (~1ULL)

BPF_RINGBUF_OUTPUT(go_ring, 1);
BPF_PERCPU_ARRAY(tallies, u64, 8);                          /* 0 written, 1 lost, 2 hits */

struct inside { u64 pd; u64 why; };
struct key { u64 p; u64 pid; };                             /* two processes may use the same addresses */
struct places { u64 rg; u64 wg; };
BPF_F_TABLE("hash", struct key, struct inside, inside, 65536, 1);     /* g -> the poll descriptor it works on */
BPF_F_TABLE("hash", struct key, u64, parking, 1048576, 1);            /* g -> where it is about to park, or has */
BPF_F_TABLE("hash", u32, struct key, commits, 65536, 1);              /* thread -> the g that it has just put to sleep */
BPF_F_TABLE("hash", struct key, struct places, told, 1048576, 1);     /* poll descriptor -> as last told */

static __always_inline void tally(int slot)
{
    u64 *n = tallies.lookup(&slot);
    if (n)
        __sync_fetch_and_add(n, 1);
}

/* struct pt_regs of x86-64, in words */
static __always_inline u64 r14(volatile u64 *regs) { return regs[1]; }
static __always_inline u64 bx(volatile u64 *regs) { return regs[5]; }
static __always_inline u64 ax(volatile u64 *regs) { return regs[10]; }
static __always_inline u64 cx(volatile u64 *regs) { return regs[11]; }
static __always_inline u64 ip(volatile u64 *regs) { return regs[16]; }
static __always_inline u64 sp(volatile u64 *regs) { return regs[19]; }

static __always_inline u64 word(u64 p) { u64 v = 0; bpf_probe_read_user(&v, 8, (void *)p); return v; }
static __always_inline u8 byte(u64 p) { u8 v = 0; bpf_probe_read_user(&v, 1, (void *)p); return v; }

static __always_inline int followed(void)
{
    if (!followed_task(bpf_get_current_pid_tgid() >> 32))
        return 0;
    tally(2);
    return 1;
}

static __always_inline struct key of(u64 p)
{
    struct key key = {p, bpf_get_current_pid_tgid() >> 32};
    return key;
}

/* The goroutine in whose turn this is: g itself, or the one that its thread's system stack works for. 0: nobody's. */
static __always_inline u64 turn(u64 g)
{
    u64 id = g ? word(g + AT_G_GOID) : 0;
    if (id || !g)
        return id;
    u64 m = word(g + AT_G_M);
    u64 current = m ? word(m + AT_M_CURG) : 0;
    return current ? word(current + AT_G_GOID) : 0;
}

static __always_inline struct go_record *record(u8 kind, u8 why)
{
    struct go_record *e = go_ring.ringbuf_reserve(sizeof(struct go_record));
    if (!e) {
        tally(1);
        return 0;
    }
    u64 who = bpf_get_current_pid_tgid();
    e->time = bpf_ktime_get_ns();
    e->pid = who >> 32;
    e->tid = who;
    e->cpu = bpf_get_smp_processor_id();
    e->kind = kind;
    e->why = why;
    e->task = e->by = e->value = e->ip = e->rg = e->wg = e->rg_was = e->wg_was = 0;
    e->fd = -1;
    e->old = e->next = e->reason = 0;
    return e;
}
static __always_inline void done(struct go_record *e) { go_ring.ringbuf_submit(e, 1); tally(0); }

/* ---- goroutines */

/* casgstatus(gp, old, new) */
int on_casgstatus(volatile u64 *regs)
{
    if (!followed())
        return 0;
    u64 g = ax(regs);
    u32 old = bx(regs) & ~G_SCAN, next = cx(regs) & ~G_SCAN;
    if (old == next || old == G_IDLE || old == G_DEAD || old == G_COPYSTACK || next == G_COPYSTACK)
        return 0; /* one that is being made has no number yet: on_newproc1 */
    s32 fd = -1;
    struct key key = of(g);
    if (old == G_WAITING || next == G_WAITING) {
        u64 *pd = parking.lookup(&key);
        if (pd) {
            fd = word(*pd + AT_PD_FD);
            u32 tid = bpf_get_current_pid_tgid();
            if (next == G_WAITING)
                commits.update(&tid, &key);
        }
    }
    struct go_record *e = record(GO_TASK, 0);
    if (!e)
        return 0;
    e->task = word(g + AT_G_GOID);
    e->by = turn(r14(regs));
    e->value = word(g + AT_G_STARTPC);
    e->ip = ip(regs);
    e->fd = fd;
    e->old = old;
    e->next = next;
    e->reason = next == G_WAITING ? byte(g + AT_G_REASON) : 0;
    done(e);
    return 0;
}

/* newproc1's RET: the new g */
int on_newproc1_return(volatile u64 *regs)
{
    if (!followed())
        return 0;
    u64 g = ax(regs);
    struct go_record *e = record(GO_TASK, 0);
    if (!e)
        return 0;
    e->task = word(g + AT_G_GOID);
    e->by = turn(r14(regs));
    e->value = word(g + AT_G_STARTPC);
    e->old = G_DEAD;
    e->next = word(g + AT_G_STATUS) & 0xff;
    e->reason = e->next == G_WAITING ? byte(g + AT_G_REASON) : 0;
    done(e);
    return 0;
}

/* netpoll(delay): who asks epoll, for how long */
int on_netpoll(volatile u64 *regs)
{
    if (!followed())
        return 0;
    struct go_record *e = record(GO_ASKS, 0);
    if (!e)
        return 0;
    e->by = turn(r14(regs));
    e->value = word(sp(regs));
    e->ip = ip(regs);
    e->rg = ax(regs);
    done(e);
    return 0;
}

/* ---- poll descriptors */

static __always_inline u64 place(u64 p)
{
    u64 held = word(p); /* pdNil 0, pdReady 1, pdWait 2, or a *g */
    return held < 3 ? held : 3 | word(held + AT_G_GOID) << 2;
}

static __always_inline int tell(u64 pd, u8 why, u64 task, int always)
{
    struct key key = of(pd);
    struct places now = {place(pd + AT_PD_RG), place(pd + AT_PD_WG)};
    struct places was = {UNKNOWN, UNKNOWN};
    struct places *before = told.lookup(&key);
    if (before)
        was = *before;
    if (was.rg == CLOSED) /* netpoll() on another thread had its notice before the close: nobody waits for it any more */
        return 0;
    if (!always && was.rg == now.rg && was.wg == now.wg)
        return 0;
    struct places closed = {CLOSED, CLOSED};
    told.update(&key, why == CLOSE ? &closed : &now);
    struct go_record *e = record(GO_POLL, why);
    if (!e)
        return 0;
    e->task = task;
    e->value = pd;
    e->rg = now.rg;
    e->wg = now.wg;
    e->rg_was = was.rg;
    e->wg_was = was.wg;
    e->fd = word(pd + AT_PD_FD);
    done(e);
    return 0;
}

static __always_inline int enters(volatile u64 *regs, u64 pd, u64 why)
{
    if (!followed())
        return 0;
    struct key key = of(r14(regs));
    struct inside in = {pd, why};
    inside.update(&key, &in);
    return 0;
}

static __always_inline int leaves(volatile u64 *regs)
{
    if (!followed())
        return 0;
    struct key key = of(r14(regs));
    struct inside *in = inside.lookup(&key);
    if (!in)
        return 0;
    u64 pd = in->pd, why = in->why;
    inside.delete(&key);
    return tell(pd, why, turn(r14(regs)), 0);
}

int on_return(volatile u64 *regs) { return leaves(regs); }

/* pollOpen(fd): pd, errno */
int on_open_return(volatile u64 *regs)
{
    if (!followed() || (u32)bx(regs))
        return 0;
    u64 pd = ax(regs);
    struct key key = of(pd);
    told.delete(&key);
    return tell(pd, OPEN, turn(r14(regs)), 1);
}

/* pollClose(pd) */
int on_close(volatile u64 *regs)
{
    return followed() ? tell(ax(regs), CLOSE, turn(r14(regs)), 1) : 0;
}

int on_reset(volatile u64 *regs) { return enters(regs, ax(regs), RESET); }           /* pollReset(pd, mode) */
int on_unblock(volatile u64 *regs) { return enters(regs, ax(regs), CLOSING); }       /* pollUnblock(pd) */
int on_deadline(volatile u64 *regs) { return enters(regs, ax(regs), DEADLINE); }     /* netpolldeadlineimpl, pollSetDeadline */

/* netpollready(list, pd, mode): mode 'r', 'w' or their sum */
int on_ready(volatile u64 *regs)
{
    u32 mode = cx(regs);
    return enters(regs, bx(regs), mode == 'r' ? READABLE : mode == 'w' ? WRITABLE : BOTH);
}

/* netpollblock(pd, mode, waitio): parks unless a notice is there already */
int on_block(volatile u64 *regs)
{
    if (!followed())
        return 0;
    struct key key = of(r14(regs));
    u64 pd = ax(regs);
    parking.update(&key, &pd);
    return 0;
}

int on_block_return(volatile u64 *regs)
{
    if (!followed())
        return 0;
    struct key key = of(r14(regs));
    u64 *pd = parking.lookup(&key);
    if (!pd)
        return 0;
    u64 p = *pd;
    parking.delete(&key);
    return tell(p, TAKEN, turn(r14(regs)), 0);
}

/* netpollblockcommit's RET, on the system stack of the thread that has just put the g to sleep */
int on_commit_return(volatile u64 *regs)
{
    if (!followed())
        return 0;
    u32 tid = bpf_get_current_pid_tgid();
    struct key *g = commits.lookup(&tid);
    if (!g)
        return 0;
    struct key key = *g;
    commits.delete(&tid);
    u64 *pd = parking.lookup(&key);
    return pd ? tell(*pd, PARK, word(key.p + AT_G_GOID), 0) : 0;
}
