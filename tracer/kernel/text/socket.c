/* Full sockets: states, readiness, the end; and the accept queue, which is a number in the listening socket. */

/* The argument as a tcp_sock: with types by the helper, which checks; else an address is an address. */
static __always_inline u64 tcp_of(u64 sk)
{
#if TYPED && !CAST
    return (u64)as_tcp_sock((void *)sk);
#else
    return sk;
#endif
}
static __always_inline u64 cookie_now(u64 sk)
{
    u64 cookie = skc_cookie(sk, TYPED);
#if TYPED
    if (!cookie)
        cookie = cookie_of((void *)sk);                     /* gives the socket one if it has none yet */
#endif
    return cookie;
}

/* Which listener a SYN was for: by namespace and port, as far as seen. Of several on one port (SO_REUSEPORT, several
 * addresses) the one that was heard of last. */
BPF_TABLE("lru_hash", struct port_key, u64, listeners, 4096);

static __always_inline void note_listener(u64 sk)
{
    struct settings *s = asked_for();
    if (!s || s->listener == sk)                            /* most often it is the same one again */
        return;
    s->listener = sk;
    struct port_key key = { sock_netns(sk, 0), skc_num(sk, 0) };
    u64 *known = listeners.lookup(&key);
    if (known)
        *known = sk;                                        /* to put it in anew would take another place first */
    else
        listeners.update(&key, &sk);
}

static __always_inline void forget_listener(u64 sk)
{
    struct settings *s = asked_for();
    if (s)
        s->listener = 0;
    struct port_key key = { sock_netns(sk, 0), skc_num(sk, 0) };
    u64 *known = listeners.lookup(&key);
    if (known && *known == sk)
        listeners.delete(&key);
}

/* Several processes may listen on one port (SO_REUSEPORT), and only some be followed. A child does not say whose it is
 * when it is born, but its request did: those made for a stranger's listener, as the listener's end has the tuple. */
BPF_TABLE("lru_hash", u64, u32, strangers, 4096);

static __always_inline void note_request(u64 req, u64 listener, u32 strange)
{
    struct settings *s = asked_for();
    struct pair p;
    u64 key;
    if (!s || (strange ? !followed_port(sock_netns(listener, 0), skc_num(listener, 0)) : !s->strangers))
        return;
    pair_of(&p, req, 0);
    key = number_of(&key, &p) + key;
    u32 *before = strangers.lookup(&key);
    s->strangers = 1;
    if (before)
        *before = strange;
    else if (strange)
        strangers.update(&key, &strange);
}

static __always_inline void addresses_of(struct here *at);

/* Of a child that is being made: from the request of the packet being processed, which is the last of the handshake. */
static __always_inline int strangers_child(u32 netns, u32 port)
{
    struct here *at = here();
    struct settings *s = asked_for();
    u64 key;
    if (!s || !s->strangers || !at || !at->packet || at->dport != port)
        return 0;
    addresses_of(at);
    struct pair p = { netns, port, at->sport, { at->dst[0], at->dst[1] }, { at->src[0], at->src[1] } };
    key = number_of(&key, &p) + key;
    u32 *strange = strangers.lookup(&key);
    return strange && *strange;
}

/* Queues and windows are left out where nobody asked for them. */
static __always_inline int brief(void) { struct settings *s = asked_for(); return s && !s->queues; }

static __always_inline void state_record(u64 sk, u64 cookie, int old, int new)
{
    struct socket_state *e = socket_record();
    if (UNLIKELY(!e)) {
        lost(SOCKET);
        return;
    }
    head(&e->head, SOCKET_STATE, sk, cookie, -1);
    u64 tp = tcp_of(sk);
    snapshot((void *)e, sk, tp, TYPED, brief());
    if (UNLIKELY(old == TCP_LISTEN && new == TCP_SYN_RECV)) {
        struct here *at = here();
        if (at && at->packet && at->dport == e->sport && !e->dport) {
            addresses_of(at);
            /* the peer is copied from the request after this notice: it is the sender of the packet being processed */
            e->dport = at->sport;
            e->saddr[0] = at->dst[0]; e->saddr[1] = at->dst[1];
            e->daddr[0] = at->src[0]; e->daddr[1] = at->src[1];
        }
        e->known &= 4;                                      /* still a copy of the listener, but for the buffers */
    }
    e->old = old;
    e->new = new;
    e->state = new;
    socket_done(e);
}

/* tcp_set_state(), inet_sk_state_store(): told before sk_state is written. A record that is lost changes nothing else:
 * whatever else a probe would have recorded is tried, and so counted, all the same. */
int on_inet_sock_set_state(volatile u64 *ctx)
{
    u64 sk = ctx[0];
    int old = ctx[1], new = ctx[2];
    if (sk_protocol(sk, TYPED) != 6)
        return 0;
    u64 key = sk;
    struct followed *f = socket_entry(key);
    u64 cookie = 0;
    /* inet_csk_clone_lock() copies the request's cookie over the child's just after this: do not give it one now */
    int child = old == TCP_LISTEN && new == TCP_SYN_RECV;
    /* A life begins: whoever had this address before is gone, though its end was not noticed (a drop may name a socket
     * that is freed already). One that connects once more is known by its cookie, or is looked at anew. */
    if (UNLIKELY(f && (child || (old == TCP_CLOSE && (new == TCP_SYN_SENT || new == TCP_LISTEN))))) {
        u64 now = child ? 0 : cookie_now(sk);
        if (!now || now != f->cookie) {
            listens_no_more(f);
            unfollow(key);
            f = NULL;
        }
    }
    if (UNLIKELY(!f)) {
        u32 port = skc_num(sk, TYPED), netns = sock_netns(sk, TYPED);
        int adopt = child ? followed_port(netns, port) && !strangers_child(netns, port)
                          : old == TCP_CLOSE && (new == TCP_SYN_SENT || new == TCP_LISTEN) && followed_current();
        if (!adopt && !followed_sock_place(sk, netns, port, __builtin_bswap16(skc_dport(sk, TYPED)))) {
            if (new == TCP_ESTABLISHED) {
                struct pair p;
                pair_of(&p, sk, TYPED);
                forget_pair(&p, 1, 0);
            }
            return 0;
        }
        f = follow(key, 0);
        if (UNLIKELY(!f))
            return lost(SOCKET);                            /* the tables are full */
    }
    if (!child && (cookie = cookie_now(sk)))
        f->cookie = cookie;
    cookie = f->cookie;
    if (old == TCP_CLOSE)
        f->learned = 0;                                     /* it may connect to another peer than before */
    if (UNLIKELY(old == TCP_LISTEN && new == TCP_CLOSE)) {
        listens_no_more(f);
        forget_listener(key);
    } else if (UNLIKELY(!f->learned || new == TCP_LISTEN)) {
        learn(f, sk, new, TYPED);
    }
    state_record(sk, cookie, old, new);
    if (UNLIKELY(new == TCP_LISTEN))
        note_listener(key);
    /* these come with sk_state_change(), which wakes readers and writers without sk_data_ready (tcp_finish_connect,
     * tcp_fin, tcp_reset) */
    struct settings *s = asked_for();
    if (s && s->readiness && ((old == TCP_SYN_SENT && new == TCP_ESTABLISHED) || new == TCP_CLOSE_WAIT ||
                              (new == TCP_CLOSE && old != TCP_LISTEN)))
        tell_readers(key, cookie, new, sk_shutdown(sk, TYPED), sk_wq(sk, POINTER(TYPED)));
    return 0;
}

/* inet_csk_destroy_sock(): the last notice of this address. */
int on_tcp_destroy_sock(volatile u64 *ctx)
{
    u64 sk = ctx[0], key = sk;
    struct followed *f = socket_entry(key);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    listens_no_more(f);
    unfollow(key);
    struct here *at = here();
    if (at && at->dirty == key)
        at->dirty = 0;
    struct socket_destroy *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, SOCKET_DESTROY, key, cookie, -1);
    u64 tp = tcp_of(sk);
    snapshot((void *)e, sk, tp, TYPED, brief());
    if (tp && !e->sport)
        e->sport = __builtin_bswap16(inet_sport(tp, TYPED && !CAST));
    socket_done(e);
    return 0;
}

/* sk->sk_data_ready(): data, FIN, or on a listener one more in the accept queue (tcp_child_process). */
int on_sk_data_ready(volatile u64 *ctx)
{
    u64 sk = ctx[0], key = sk;
    struct followed *f = followed_sock(key, 0);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    u8 state = skc_state(sk, TYPED);
    struct socket_readable *e = socket_record();
    if (e) {
        head(&e->head, state == TCP_LISTEN ? ACCEPT_QUEUED : SOCKET_READABLE, key, cookie, -1);
        struct here *at = here();
        if (at)
            at->ready = e->head.time;
        u64 tp = tcp_of(sk);
        snapshot((void *)e, sk, tp, TYPED, 0);
        socket_done(e);
    } else {
        lost(SOCKET);
    }
    if (state == TCP_LISTEN)
        note_listener(key);
    tell_readers(key, cookie, state, sk_shutdown(sk, TYPED), sk_wq(sk, POINTER(TYPED)));
    return 0;
}
