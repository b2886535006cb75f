/* Packets at the edge of the stack: the headers, no payload. What a receiving CPU does until the next packet, or until
 * its softirq ends, it does because of this packet: its time is kept as the context of every record until then. */

static __always_inline void look_at_dirty(struct here *at);
static __always_inline void knocked_in_vain(struct here *at);

static __always_inline void leave_packet(struct here *at)
{
    if (UNLIKELY(at->knocks))
        knocked_in_vain(at);
    if (UNLIKELY(at->dirty))
        look_at_dirty(at);
    at->packet = at->ready = 0;
}

/* A connected socket of its own, which the sender of a packet may also not be: SYN-ACKs are a listener's or a request
 * sock's, answers to strange segments the namespace's control socket's. */
static __always_inline int whole_socket(u64 sk, u32 port)
{
    u8 state = skc_state(sk, 0);
    return skc_num(sk, 0) == port && state != TCP_LISTEN && state != TCP_NEW_SYN_RECV && state != TCP_TIME_WAIT;
}

#define SYN 2
#define ACK 16
#define LOOPBACK 1                                          /* ifindex, in every namespace (include/net/flow.h) */

static __always_inline u32 opening(u32 *tcp) { return __builtin_bswap32(tcp[3]) >> 16 & (SYN | ACK); }

/* The addresses of an IP header of 40 bytes or more, by words. */
static __always_inline void addresses_in(u32 *ip, u64 *src, u64 *dst)
{
    if ((ip[0] & 0xf0) == 0x60) {
        src[0] = halves(ip[2], ip[3]);
        src[1] = halves(ip[4], ip[5]);
        dst[0] = halves(ip[6], ip[7]);
        dst[1] = halves(ip[8], ip[9]);
    } else {
        v4(src, ip[3]);
        v4(dst, ip[4]);
    }
}

/* Those of the packet that is being processed: its header is there as long as it is. */
static __always_inline void addresses_of(struct here *at)
{
    u32 ip[10];
    if (!at->header)
        return;
    WORDS_AT(ip, at->header, 10);
    addresses_in(ip, at->src, at->dst);
    at->header = 0;
}

/* Over loopback a packet comes in on the CPU by which it left, most often as the next thing there, byte for byte as it
 * was: then its record need not say it all again. Here: that very one, and not another that has got its memory since. A
 * SYN is always looked at whole. */
static __always_inline int left_here(struct here *at, u64 skb, u64 from)
{
    u32 tcp[4];
    if (at->sent != skb)
        return 0;
    WORDS_AT(tcp, from + at->sent_l3, 4);
    return tcp[0] == at->sent_tcp[0] && tcp[1] == at->sent_tcp[1] && tcp[2] == at->sent_tcp[2] &&
           tcp[3] == at->sent_tcp[3] && opening(tcp) != SYN;
}

/* Where the ring is our own, the record of the leaving is most often still in it, and its arrival is noted there: how many
 * ns later, in place of a file descriptor. User space leaves such a record in the ring until its mark is there, or so long
 * that none is made any more (tracer.kernel.loopback). */
#define COMING (-3)
#define NOT_MARKED (-1)
#define MARKED_WITHIN 1000000ULL                            /* ns */

static __always_inline struct head *record_of_sent(struct here *at)
{
#if OWN_RINGS
    u32 index = at->sent_at;
    struct object_slot *slot = object_ring.lookup(&index);
    return slot && slot->number == at->sent_number ? (struct head *)slot->record : NULL;
#else
    return NULL;
#endif
}

/* Its record waits no longer: the arrival, if there is one, has a record of its own. */
static __always_inline void not_marked(struct here *at)
{
    struct head *left = at->sent ? record_of_sent(at) : NULL;
    if (left)
        left->fd = NOT_MARKED;
    at->sent = 0;
}

static __always_inline int marked(struct here *at)
{
    struct head *left = record_of_sent(at);
    if (!left)
        return 0;
    u64 who = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), after = now - left->time;
    if (UNLIKELY(left->pid != who >> 32 || left->tid != (u32)who || after >= MARKED_WITHIN))
        return 0;
    left->fd = after;
    at->marks++;                                            /* in a softirq, see on_softirq_exit() */
    at->packet = now;
    at->sent = 0;
    return 1;
}

/* Else the short record: a head, with the packet's address for a socket's, in the ring of small ones. User space takes all
 * else from the record of its leaving. */
static __always_inline int comes_back(struct here *at, u64 skb, u64 from)
{
    u32 ports = __builtin_bswap32(at->sent_tcp[0]);
    at->sport = ports >> 16;
    at->dport = ports & 0xffff;
    at->netns = at->sent_netns;
    at->header = from;
    if (marked(at))
        return 0;
    not_marked(at);
    struct head *h = small_record();
    if (UNLIKELY(!h)) {
        at->packet = bpf_ktime_get_ns();                    /* what it leads to is tried, and counted, all the same */
        return lost(SMALL);
    }
    head_at(h, at, PACKET_RECEIVED, skb, 0, -1);
    at->packet = h->time;
    small_done(h);
    return 0;
}

/* from: where the IP header begins, room: bytes of it that lie in one piece; sk: whose packet it is if that is known */
static __always_inline int packet(struct here *at, const int in, u64 skb, u64 dev, u64 from, u32 room, u32 wire_len, u64 sk)
{
    u32 ip[10], tcp[4];                                     /* of IPv6, or of IPv4 and more */
    if (UNLIKELY(room < 40))                                /* IPv4 and TCP without options */
        return 0;
    WORDS_AT(ip, from, 10);
    u32 l3 = 40, first = __builtin_bswap32(ip[0]), second = __builtin_bswap32(ip[1]), third = __builtin_bswap32(ip[2]);
    if (first >> 28 == 4) {
        l3 = (first >> 24 & 15) * 4;
        if ((third >> 16 & 255) != 6 || l3 < 20 || (second & 0x1fff))
            return 0;                                       /* not TCP, or a later fragment (RFC 791): no ports */
    } else if (first >> 28 != 6 || (second >> 8 & 255) != 6) {
        return 0;
    }
    if (UNLIKELY(room < l3 + 20))
        return 0;
    if (l3 == 20)
        __builtin_memcpy(tcp, ip + 5, 16);
    else
        WORDS_AT(tcp, from + l3, 4);
    u32 ports = __builtin_bswap32(tcp[0]), offset = __builtin_bswap32(tcp[3]) >> 28, flags = opening(tcp);
    u32 netns = net_inum(dev_net(dev, 0), 0), ifindex = dev_ifindex(dev, 0);
    u64 cookie = 0;
    struct followed *f = sk ? socket_entry(sk) : NULL;
    int whole = f && whole_socket(sk, ports >> 16);
    if (UNLIKELY(!whole || !(f->learned++ & 15))) {
        struct pair p = { netns, ports >> 16, ports & 0xffff };
        addresses_in(ip, p.own, p.peer);
        if (f) {
            /* connect() sends its SYN before any state says the port; now and then again, lest it is pushed out */
            learn_pair(&p);
        } else {
            /* a stranger's, though the tuple may be one that a followed socket had before */
            int opens = flags == SYN, theirs = sk && (opens || whole_socket(sk, ports >> 16));
            sk = 0;
            if (!forget_pair(&p, theirs, opens) && !followed_ports(&p))
                return 0;
        }
        if (in) {
            at->src[0] = p.own[0]; at->src[1] = p.own[1];
            at->dst[0] = p.peer[0]; at->dst[1] = p.peer[1];
        } else if (flags == (SYN | ACK)) {                  /* with a request sock or with a cookie */
            at->knocks = 0;
        }
    }
    if (f)
        cookie = f->cookie;
    if (in) {
        at->sport = ports >> 16;
        at->dport = ports & 0xffff;
        at->netns = netns;
        at->header = 0;
        at->knocks = flags == SYN;                          /* until something is made of it */
    }
    int looped = !in && ifindex == LOOPBACK;
    if (looped && UNLIKELY(at->sent))
        not_marked(at);                                     /* the one before: only the last one is recognised */
    u32 place = 0;
    struct packet_sent *e = object_record_in(&place);
    if (UNLIKELY(!e)) {
        if (in)
            at->packet = bpf_ktime_get_ns();                /* as above */
        return lost(OBJECT);
    }
    head_at(&e->head, at, in ? PACKET_RECEIVED : PACKET_SENT, sk, cookie, -1);
    e->skb = skb;
    e->netns = netns;
    e->ifindex = ifindex;
    e->wire_len = wire_len;
    u64 length = l3 + (offset < 5 ? 5 : offset) * 4;
    if (length > room)
        length = room;
    e->caplen = length > MAX_HEADER ? MAX_HEADER : length;
    __builtin_memcpy(e->raw, ip, 40);
    bytes_at(e->raw + 40, from + 40, length - 40, MAX_HEADER - 40);
    if (in) {
        at->packet = e->head.time;
    } else if (looped) {
        at->sent = skb;
        asm volatile("" ::: "memory");                      /* first: a softirq in between leaves one of its own, or none */
        at->sent_netns = netns;
        at->sent_l3 = l3;
        __builtin_memcpy(at->sent_tcp, tcp, 16);
#if OWN_RINGS
        at->sent_at = place;
        at->sent_number = *((u32 *)e - 1) & ~WRITING;
        if (flags != SYN)
            e->head.fd = COMING;
#endif
    }
    object_done(e);
    return 0;
}

#define ETH_P_IP 0x0008                                     /* network order */
#define ETH_P_IPV6 0xdd86

/* xmit_one(): the network header is where skb->network_header says */
int on_net_dev_start_xmit(volatile u64 *ctx)
{
    u64 skb = ctx[0], dev = ctx[1];
    struct here *at = here();
    u16 protocol = skb_protocol(skb, TYPED);
    if (!at || (protocol != ETH_P_IP && protocol != ETH_P_IPV6))
        return 0;
    u64 from = skb_head(skb, TYPED) + skb_network_header(skb, TYPED);
    u64 data = skb_data(skb, TYPED);
    u32 before = from - data, len = skb_len(skb, TYPED);
    if (UNLIKELY(len < before))
        return 0;
    u32 room = len - skb_data_len(skb, TYPED) - before;
    return packet(at, 0, skb, dev, from, room, len - before, skb_sk(skb, POINTER(TYPED)));
}

/* __netif_receive_skb_core(): told before skb_reset_network_header(); skb->data is the network header */
int on_netif_receive_skb(volatile u64 *ctx)
{
    u64 skb = ctx[0];
    struct here *at = here();
    if (!at)
        return 0;
    leave_packet(at);
    u64 from = skb_data(skb, TYPED);
    if (left_here(at, skb, from))
        return comes_back(at, skb, from);
    if (UNLIKELY(at->sent == skb))
        not_marked(at);
    u16 protocol = skb_protocol(skb, TYPED);
    if (protocol != ETH_P_IP && protocol != ETH_P_IPV6)
        return 0;
    u32 len = skb_len(skb, TYPED);
    return packet(at, 1, skb, skb_dev(skb, 0), from, len - skb_data_len(skb, TYPED), len, 0);
}

/* The end of the softirq in which packets are received: nothing after it was caused by them. Softirqs are counted, which
 * the kernel does too (tracer.kernel.softirqs says what for): TIMER is 1, NET_TX 2, NET_RX 3, include/linux/interrupt.h.
 * Those of one processor never nest, so no two programs count at once. */
int on_softirq_exit(volatile u64 *ctx)
{
    u64 vector = ctx[0];
    struct here *at = here();
    if (at && vector < 4)
        at->softirqs[vector]++;
    if (at && (at->packet | at->dirty | at->ready | at->knocks))
        leave_packet(at);
    return 0;
}

/* sk_stream_write_space() has no tracepoint. What it does shows: a writer that found no room (SOCK_NOSPACE, set by
 * tcp_sendmsg() and tcp_poll()) is told when the ACK of this packet has made some, and the mark is taken away before
 * anybody is woken. So it is looked for at the first waking, and at the latest when the packet is done with. */
#define SOCK_NOSPACE 2                                      /* bit of socket->flags, include/linux/net.h */

static __always_inline u64 no_space(u64 sk)
{
    u64 socket = sk_socket(sk, 0);
    return socket ? socket_flags(socket, 0) >> SOCK_NOSPACE & 1 : 0;
}

static __always_inline void tell_writers(struct here *at)
{
    u64 sk = at->dirty;
    struct followed *f = socket_entry(sk);
    if (!f || no_space(sk))
        return;
    at->full = 0;
    u64 cookie = f->cookie;
    struct socket_writable *e = socket_record();
    if (!e) {
        lost(SOCKET);
        return;
    }
    head(&e->head, SOCKET_WRITABLE, sk, cookie, -1);
    at->ready = e->head.time;
    snapshot((void *)e, sk, sk, 0, 0);
    socket_done(e);
    tell_readers(sk, cookie, skc_state(sk, 0), sk_shutdown(sk, 0), sk_wq(sk, 0));
}

/* tcp_rcv_established(), before the segment is worked in: remember the socket and look when the packet is done with */
int on_tcp_probe(volatile u64 *ctx)
{
    u64 sk = ctx[0];
    struct here *at = here();
    if (!at || !at->packet || !followed_sock(sk, 0))
        return 0;
    if (at->dirty && at->dirty != sk)
        look_at_dirty(at);
    at->dirty = sk;
    at->full = no_space(sk);
    return 0;
}

static __always_inline void look_at_dirty(struct here *at)
{
    if (at->full)
        tell_writers(at);
    u64 sk = at->dirty;
    at->dirty = at->full = 0;
    struct followed *f = socket_entry(sk);
    if (!f)
        return;
    u64 cookie = f->cookie;
    struct socket_queues *e = socket_record();
    if (!e) {
        lost(SOCKET);
        return;
    }
    head(&e->head, SOCKET_QUEUES, sk, cookie, -1);
    snapshot(e, sk, sk, 0, 0);
    socket_done(e);
}
