/* What goes wrong and what the stack does about it: segments sent again, timers, congestion, resets, segments thrown
 * away, connections turned away. All of it is rare, so everything is read by bpf_probe_read_kernel in both modes: several
 * of these hooks may pass NULL, which the verifier would want to see checked. */

/* tcp_retransmit_skb(): the segment's place in the stream is in its control block */
int on_tcp_retransmit_skb(volatile u64 *ctx)
{
    u64 sk = ctx[0], skb = ctx[1];
    struct followed *f = followed_sock(sk, 0);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    struct socket_retransmit *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, SOCKET_RETRANSMIT, sk, cookie, -1);
    snapshot((void *)e, sk, sk, 0, 0);
    e->seq = skb_cb_seq(skb + AT_skb_cb, 0);
    e->end_seq = skb_cb_end(skb + AT_skb_cb, 0);
    socket_done(e);
    return 0;
}

int on_tcp_retransmit_synack(volatile u64 *ctx)
{
    u64 sk = ctx[0], req = ctx[1];
    struct here *at = here();
    if (at)
        at->knocks = 0;                                     /* the same SYN again is answered */
    struct followed *f = followed_sock(sk, 0);
    if (!f)
        return 0;
    struct request_retransmit *e = object_record();
    if (!e)
        return lost(OBJECT);
    head(&e->head, REQUEST_RETRANSMIT, req, skc_cookie(req, 0), -1);
    TUPLE(e, req, 0);
    e->listener = sk;
    e->timeouts = req_num_timeout(req, 0);
    e->qlen = icsk_qlen(sk, 0);
    e->young = icsk_young(sk, 0);
    e->ack_backlog = sk_ack_backlog(sk, 0);
    e->max_ack_backlog = sk_max_ack_backlog(sk, 0);
    object_done(e);
    return 0;
}

/* ---- timers of sockets */

#define ICSK_TIME_RETRANS 1                                 /* include/net/inet_connection_sock.h */
#define ICSK_TIME_PROBE0 3
#define ICSK_TIME_LOSS_PROBE 5
#define ICSK_TIME_REO_TIMEOUT 6
#define TCP_FIN_WAIT2 5
enum { FIRED_RTO = 1, FIRED_PROBE0, FIRED_KEEPALIVE, FIRED_DELACK, FIRED_LOSS_PROBE, FIRED_REORDERING, FIRED_FIN_WAIT2 };

/* a second program on this tracepoint: where a function's address is not to be had, only this one goes without */
int on_socket_timer(volatile u64 *ctx)
{
    u64 timer = ctx[0], sk;
    u64 function = timer_function(timer, TYPED);
    u8 what;
    if (function == TCP_WRITE_TIMER) {
        sk = timer - AT_icsk_write_timer;
        switch (icsk_pending(sk, 0)) {
        case ICSK_TIME_RETRANS: what = FIRED_RTO; break;
        case ICSK_TIME_PROBE0: what = FIRED_PROBE0; break;
        case ICSK_TIME_LOSS_PROBE: what = FIRED_LOSS_PROBE; break;
        case ICSK_TIME_REO_TIMEOUT: what = FIRED_REORDERING; break;
        default: return 0;                                  /* what it was armed for has come: a timer left behind */
        }
    } else if (function == TCP_KEEPALIVE_TIMER) {
        sk = timer - AT_sk_timer;
        what = skc_state(sk, 0) == TCP_FIN_WAIT2 ? FIRED_FIN_WAIT2 : FIRED_KEEPALIVE;
    } else if (function == TCP_DELACK_TIMER) {
        sk = timer - AT_icsk_delack_timer;
        what = FIRED_DELACK;
    } else {
        return 0;
    }
    struct followed *f = followed_sock(sk, 0);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    struct socket_timer *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, SOCKET_TIMER, sk, cookie, -1);
    snapshot((void *)e, sk, sk, 0, 0);
    e->timer = what;
    e->probes = icsk_probes_out(sk, 0);
    socket_done(e);
    return 0;
}

/* tcp_set_ca_state(), told before it is written */
int on_tcp_cong_state_set(volatile u64 *ctx)
{
    u64 sk = ctx[0];
    u8 next = ctx[1];
    if (icsk_ca_state(sk, 0) == next)
        return 0;
    struct followed *f = followed_sock(sk, 0);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    struct socket_congestion *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, SOCKET_CONGESTION, sk, cookie, -1);
    snapshot((void *)e, sk, sk, 0, 0);
    e->ca_next = next;
    socket_done(e);
    return 0;
}

/* ---- segments in buffers: no socket need be known */

struct segment { u64 src[2]; u64 dst[2]; u32 sport; u32 dport; u32 seq; u16 flags; u8 family; };

static __always_inline int segment_of(u64 skb, struct segment *s)
{
    u8 ip[40];
    u16 port[2];
    u16 place = skb_network_header(skb, 0), protocol = skb_protocol(skb, 0);
    if ((protocol != ETH_P_IP && protocol != ETH_P_IPV6) || place == 0xffff)
        return 0;
    u64 from = skb_head(skb, 0) + place;
    if (bpf_probe_read_kernel(ip, 40, (void *)from))
        return 0;
    u32 l3 = (ip[0] & 15) * 4;
    if (ip[0] >> 4 == 4 && ip[9] == 6 && l3 >= 20 && !(ip[6] & 0x1f) && !ip[7]) {
        v4(s->src, *(u32 *)(ip + 12));
        v4(s->dst, *(u32 *)(ip + 16));
        s->family = 4;
    } else if (ip[0] >> 4 == 6 && ip[6] == 6) {
        l3 = 40;
        v6(s->src, from + 8);
        v6(s->dst, from + 24);
        s->family = 6;
    } else {
        return 0;
    }
    bpf_probe_read_kernel(port, 4, (void *)(from + l3));
    s->sport = __builtin_bswap16(port[0]);
    s->dport = __builtin_bswap16(port[1]);
    s->seq = __builtin_bswap32(read_u32(from + l3 + 4));
    s->flags = __builtin_bswap16(read_u16(from + l3 + 12)) & 0x1ff;
    return 1;
}

/* The namespace in which a buffer is handled: the socket's, that of the packet being processed, or the device's. (TCP
 * reuses skb->dev, so that comes last.) */
static __always_inline u32 netns_of(u64 skb, u64 sk)
{
    struct here *at = here();
    if (sk)
        return sock_netns(sk, 0);
    if (at && at->packet)
        return at->netns;
    u64 dev = read_u64(skb + AT_skb_dev);
    return dev ? net_inum(dev_net(dev, 0), 0) : 0;
}

/* The tuple of a segment, as its sender has it or, when it came in, its receiver. */
static __always_inline void pair_in(struct pair *p, struct segment *s, u32 netns, int received)
{
    p->netns = netns;
    p->port = received ? s->dport : s->sport;
    p->peer_port = received ? s->sport : s->dport;
    p->own[0] = received ? s->dst[0] : s->src[0]; p->own[1] = received ? s->dst[1] : s->src[1];
    p->peer[0] = received ? s->src[0] : s->dst[0]; p->peer[1] = received ? s->src[1] : s->dst[1];
}

/* ---- resets */

/* tcp_v4_send_reset() passes the segment that is answered and perhaps no socket, tcp_send_active_reset() the socket */
int on_tcp_send_reset(volatile u64 *ctx)
{
    u64 sk = ctx[0], skb = ctx[1];
    u32 reason = 0;
#if SEND_RESET_HAS_REASON
    reason = ctx[2];
#endif
    struct segment s = {};
    int whole = sk && skc_dport(sk, 0);                     /* a connection's, not a listener's */
    struct pair p = {};
    u64 cookie = 0;
    if (whole) {
        struct followed *f = socket_entry(sk);
        pair_of(&p, sk, 0);
        if (!f && !followed_tuple(&p))
            return 0;
        cookie = f ? f->cookie : skc_cookie(sk, 0);
    } else {
        if (!skb || !segment_of(skb, &s))
            return 0;
        pair_in(&p, &s, netns_of(skb, sk), 1);
        if (!followed_tuple(&p))
            return 0;
    }
    struct reset_sent *e = object_record();
    if (!e)
        return lost(OBJECT);
    head(&e->head, RESET_SENT, whole ? sk : 0, cookie, -1);
    e->reason = reason;
    if (whole) {
        TUPLE(e, sk, 0);
        e->state = skc_state(sk, 0);
        if (!p.port)
            e->sport = __builtin_bswap16(inet_sport(sk, 0)); /* closed already, see snapshot() */
    } else {
        e->saddr[0] = p.own[0]; e->saddr[1] = p.own[1];
        e->daddr[0] = p.peer[0]; e->daddr[1] = p.peer[1];
        e->sport = p.port;
        e->dport = p.peer_port;
        e->netns = p.netns;
        e->family = s.family;
        e->state = sk ? skc_state(sk, 0) : 0;
    }
    object_done(e);
    return 0;
}

/* tcp_reset(): the RST was in the window; sk_err is set after this */
int on_tcp_receive_reset(volatile u64 *ctx)
{
    u64 sk = ctx[0];
    struct followed *f = followed_sock(sk, 0);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    struct reset_received *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, RESET_RECEIVED, sk, cookie, -1);
    snapshot((void *)e, sk, sk, 0, 0);
    socket_done(e);
    return 0;
}

/* ---- drops */

int on_kfree_skb(volatile u64 *ctx)
{
    u64 skb = ctx[0], sk = skb_sk(skb, 0);
    u32 reason = 0;
#if KFREE_SKB_HAS_REASON
    reason = ctx[2];
#endif
#if KFREE_SKB_HAS_SOCKET
    if (ctx[3])
        sk = ctx[3];
#endif
    struct segment s = {};
    if (!segment_of(skb, &s))
        return 0;
    /* the socket of a buffer may be its sender's or, found early, its receiver's: its port tells */
    u32 own = sk ? skc_num(sk, 0) : 0;
    int outgoing = own && own == s.sport && own != s.dport;
    struct pair p = {};
    pair_in(&p, &s, netns_of(skb, sk), !outgoing);
    if (!followed_tuple(&p))
        return 0;
    struct followed *f = sk ? socket_entry(sk) : NULL;
    int known = f && skc_dport(sk, 0);
    u64 cookie = known ? f->cookie : 0;
    struct segment_dropped *e = object_record();
    if (!e)
        return lost(OBJECT);
    head(&e->head, SEGMENT_DROPPED, known ? sk : 0, cookie, -1);
    e->skb = skb;
    e->seq = s.seq;
    e->reason = reason;
    e->flags = s.flags;
    e->family = s.family;
    e->outgoing = outgoing;
    e->netns = p.netns;
    e->saddr[0] = p.own[0]; e->saddr[1] = p.own[1];
    e->daddr[0] = p.peer[0]; e->daddr[1] = p.peer[1];
    e->sport = p.port;
    e->dport = p.peer_port;
    object_done(e);
    return 0;
}

/* ---- a queue of the listener is full: tcp_conn_request() drops a SYN without a word (sk_acceptq_is_full,
 * inet_csk_reqsk_queue_is_full). It shows in that the SYN's processing ends with no request sock made and no SYN-ACK sent
 * (a SYN cookie needs no request sock). */
static __always_inline void knocked_in_vain(struct here *at)
{
    struct port_key key = { at->netns, at->dport };
    at->knocks = 0;
    u64 *known = listeners.lookup(&key);
    if (!known || !at->packet)
        return;
    u64 sk = *known;
    struct followed *f = socket_entry(sk);
    if (!f || skc_state(sk, 0) != TCP_LISTEN)
        return;
    u32 most = sk_max_ack_backlog(sk, 0);
    int full = sk_ack_backlog(sk, 0) > most;
    if (!full && icsk_qlen(sk, 0) < most)
        return;
    u64 cookie = f->cookie;
    struct accept_overflow *e = socket_record();
    if (!e) {
        lost(SOCKET);
        return;
    }
    head(&e->head, full ? ACCEPT_OVERFLOW : REQUEST_OVERFLOW, sk, cookie, -1);
    snapshot((void *)e, sk, sk, 0, 0);
    e->peer[0] = at->src[0];
    e->peer[1] = at->src[1];
    e->peer_port = at->sport;
    socket_done(e);
}
