/* Common ground of all probes: reading memory, rings with exact counts, the head of a record.
 *
 * TYPED is 1 when programs are loaded as tp_btf: pointers that come as arguments have a type that the verifier knows
 * and are read by plain loads. What is reached by a detour (fd tables, timers, wait queues) is a number to it, hence
 * the flag that every accessor takes: such a number is read by bpf_probe_read_kernel, or, where CAST says that there is
 * a bpf_rdonly_cast (which costs nothing, the verifier takes it out again), is given its type and loaded plainly too.
 */

static u64 (*current_task)(void) = (void *)35;               /* bpf_get_current_task, hidden from BCC's rewriter */
static u64 (*cookie_of)(void *sk) = (void *)46;             /* bpf_get_socket_cookie; BCC declares it as u32 */
static void *(*as_tcp_sock)(void *sk) = (void *)137;        /* bpf_skc_to_tcp_sock */

#define READ(T) \
    static __always_inline T read_##T(u64 p) { T v = 0; bpf_probe_read_kernel(&v, sizeof(v), (void *)p); return v; }
READ(u8) READ(u16) READ(u32) READ(u64) READ(s8) READ(s16) READ(s32) READ(s64)
#if CAST
static u64 (*as_type)(u64 p, u32 btf_id) = (void *)CAST;
#define LD(T, typed, p, at, btf_id) (*(volatile T *)(((typed) ? (p) : as_type(p, btf_id)) + (at)))
#else
#define LD(T, typed, p, at, btf_id) ((typed) ? *(volatile T *)((p) + (at)) : read_##T((p) + (at)))
#endif

/* `typed` for a field that is a pointer: of an argument the verifier asks whether it may be trusted then, for which it reads
 * through all names of the kernel's types: an eighth of the time of loading. */
#define POINTER(typed) ((typed) && !CAST)

/* ACCESSORS */

/* Memory that has no struct (the headers of a packet), by words of 32 bits, an even number: pt_regs begins with plain
 * words everywhere, so what is given its type is loaded as such. Where nothing can be read there are zeros. A macro, for
 * the loop is to be unrolled before anything else is done to it. */
#if CAST
#define WORDS_AT(to, from, count) do { \
    u64 words = as_type(from, PT_REGS); \
    _Pragma("unroll") for (int i = 0; i < (count); i += 2) { \
        u64 two = *(volatile u64 *)(words + 4 * i); \
        (to)[i] = two; \
        (to)[i + 1] = two >> 32; \
    } \
} while (0)
#else
#define WORDS_AT(to, from, count) bpf_probe_read_kernel(to, 4 * (count), (void *)(from))
#endif

/* So many bytes, `most` of them at most, a multiple of 8: `to` may lie anywhere. What is behind them is left as it is, up
 * to `most` (tracer.headers makes it zeros). */
static __always_inline void bytes_at(u8 *to, u64 from, u64 length, const int most)
{
#if CAST
    u64 words = as_type(from, PT_REGS);
#pragma unroll
    for (int i = 0; i < most; i += 8) {
        if (length <= i)
            break;
        *(u64 *)(to + i) = *(volatile u64 *)(words + i);
    }
#else
    asm volatile("" : "+r"(length));                        /* or clang checks one register and uses another */
    if (length > most)
        length = most;
    bpf_probe_read_kernel(to, length, (void *)from);
#endif
}

#define UNLIKELY(x) __builtin_expect(!!(x), 0)               /* kept out of the way of what happens all the time */

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

/* ---- what this CPU is doing: the packet in whose processing it is, the last readiness notice, a socket to look at */

struct here {
    u64 softirqs[4];                                        /* that ended, by vector (packet.c) */
    u64 marks;                                              /* arrivals that are a mark in another record (packet.c) */
    u64 packet; u64 ready; u64 dirty; u64 full;
    u64 src[2]; u64 dst[2]; u32 sport; u32 dport; u32 netns; u32 knocks;
    u64 header;                                             /* src and dst are still to be read from there (packet.c) */
    u64 sent; u32 sent_netns; u32 sent_l3; u32 sent_tcp[4]; /* what left last by loopback (packet.c) */
    u32 sent_at; u32 sent_number;                           /* and where its record is */
};
BPF_PERCPU_ARRAY(cpu_here, struct here, 1);
static __always_inline struct here *here(void) { int zero = 0; return cpu_here.lookup(&zero); }

static __always_inline u32 sock_netns(u64 sk, const int typed)
{
    return net_inum(skc_net(sk, POINTER(typed)), 0);
}

/* ---- the head that every record begins with; time is taken after the reservation, so ring order is time order here */

static __always_inline void head_at(struct head *h, struct here *at, u16 kind, u64 addr, u64 cookie, s32 fd)
{
    u64 who = bpf_get_current_pid_tgid();
    h->time = bpf_ktime_get_ns();
    h->ctx = at ? at->packet : 0;
    h->addr = addr;
    h->cookie = cookie;
    h->pid = who >> 32;
    h->tid = who;
    h->fd = fd;
    h->kind = kind;
    h->cpu = bpf_get_smp_processor_id();
}
static __always_inline void head(struct head *h, u16 kind, u64 addr, u64 cookie, s32 fd)
{
    head_at(h, here(), kind, addr, cookie, fd);
}

/* ---- addresses: two host-order halves, IPv4 as ::ffff:a.b.c.d; the beginning of sock, request_sock and timewait alike */

static __always_inline void v4(u64 *to, u32 be) { to[0] = 0; to[1] = 0xffff00000000ULL | __builtin_bswap32(be); }
static __always_inline u64 halves(u32 high, u32 low)
{
    return (u64)__builtin_bswap32(high) << 32 | __builtin_bswap32(low);
}
static __always_inline void v6(u64 *to, u64 from)
{
    bpf_probe_read_kernel(to, 16, (void *)from);
    to[0] = __builtin_bswap64(to[0]);
    to[1] = __builtin_bswap64(to[1]);
}

#define TUPLE(e, p, typed) do { \
    if (skc_family(p, typed) == 10) { \
        v6((e)->saddr, (p) + AT_skc_v6_rcv_saddr); \
        v6((e)->daddr, (p) + AT_skc_v6_daddr); \
        (e)->family = 6; \
    } else { \
        v4((e)->saddr, skc_rcv_saddr(p, typed)); \
        v4((e)->daddr, skc_daddr(p, typed)); \
        (e)->family = 4; \
    } \
    (e)->sport = skc_num(p, typed); \
    (e)->dport = __builtin_bswap16(skc_dport(p, typed)); \
    (e)->netns = sock_netns(p, typed); \
} while (0)

/* ---- what is read of a socket at every event about it. tp is the same socket as a tcp_sock (typed), or sk itself; brief:
 * who it is and its state, and zeros for the rest, which lies in a dozen lines of memory */

static __always_inline void snapshot(struct socket_queues *e, u64 sk, u64 tp, const int told, int brief)
{
#if CAST
    /* once for all fields, each would cost three instructions; an argument is left as it is: loads that go through a
     * cast are checked where they happen, those of an argument need not be */
    const int typed = 1;
    if (!told)
        sk = as_type(sk, SOCK);
    if (tp)
        tp = as_type(tp, TCP_SOCK);
#else
    const int typed = told;
#endif
    u8 state = skc_state(sk, typed);
    TUPLE(e, sk, typed);
    e->state = state;
    e->shutdown = sk_shutdown(sk, typed);
    if (tp && !e->sport && state != TCP_CLOSE)
        e->sport = __builtin_bswap16(inet_sport(tp, typed)); /* inet_put_port() has cleared the other on the way to CLOSE */
    if (brief) {
        __builtin_memset(&e->rcv_nxt, 0, (u8 *)&e->known - (u8 *)&e->rcv_nxt);
        e->known = e->pending = e->backoff = e->retransmits = e->ca_state = 0;
        return;
    }
    e->rmem = sk_rmem(sk, typed);
    e->rcvbuf = sk_rcvbuf(sk, typed);
    e->wmem = sk_wmem(sk, typed);
    e->sndbuf = sk_sndbuf(sk, typed);
    e->ack_backlog = sk_ack_backlog(sk, typed);
    e->max_ack_backlog = sk_max_ack_backlog(sk, typed);
    e->err = sk_err(sk, typed);
    e->known = 4;
    e->qlen = e->young = 0;
    if (!tp || state == TCP_LISTEN) {
        if (tp) {
            e->known |= 8;
            e->qlen = icsk_qlen(tp, typed);
            e->young = icsk_young(tp, typed);
        }
        e->rcv_nxt = e->copied_seq = e->snd_una = e->snd_nxt = e->write_seq = e->snd_wnd = e->rcv_wnd = 0;
        e->snd_cwnd = e->ssthresh = e->srtt = e->rto = e->mss = e->packets_out = 0;
        e->pending = e->backoff = e->retransmits = e->ca_state = 0;
        return;
    }
    e->known |= 1 | 2 | 16;
    e->rcv_nxt = tp_rcv_nxt(tp, typed);
    e->copied_seq = tp_copied_seq(tp, typed);
    e->snd_una = tp_snd_una(tp, typed);
    e->snd_nxt = tp_snd_nxt(tp, typed);
    e->write_seq = tp_write_seq(tp, typed);
    e->snd_wnd = tp_snd_wnd(tp, typed);
    e->rcv_wnd = tp_rcv_wnd(tp, typed);
    e->snd_cwnd = tp_snd_cwnd(tp, typed);
    e->ssthresh = tp_ssthresh(tp, typed);
    e->srtt = tp_srtt(tp, typed) >> 3;                      /* srtt_us is kept times 8 */
    e->rto = icsk_rto(tp, typed) * (1000000 / HZ);          /* jiffies */
    e->mss = tp_mss(tp, typed);
    e->packets_out = tp_packets_out(tp, typed);
    e->pending = icsk_pending(tp, typed);
    e->backoff = icsk_backoff(tp, typed);
    e->retransmits = icsk_retransmits(tp, typed);
    e->ca_state = icsk_ca_state(tp, typed);
}
