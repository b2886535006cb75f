/* Full sockets: states, readiness, the end; and the accept queue, which is a number in the listening socket. */

/* The argument as a tcp_sock: with types only by the helper, which checks; without, an address is an address. */
static __always_inline u64 tcp_of(u64 sk)
{
#if TYPED
    return (u64)as_tcp_sock((void *)sk);
#else
    return sk;
#endif
}
static __always_inline u64 cookie_now(u64 sk)
{
#if TYPED
    return cookie_of((void *)sk);                           /* gives the socket one if it has none yet */
#else
    return skc_cookie(sk, 0);
#endif
}

/* Which listener a SYN was for: by namespace and port, as far as seen. Of several on one port (SO_REUSEPORT, several
 * addresses) the one that was heard of last. */
BPF_TABLE("lru_hash", struct port_key, u64, listeners, 4096);

static __always_inline void note_listener(u64 sk)
{
    struct port_key key = { sock_netns(sk, 0), skc_num(sk, 0) };
    listeners.update(&key, &sk);
}

static __always_inline void forget_listener(u64 sk)
{
    struct port_key key = { sock_netns(sk, 0), skc_num(sk, 0) };
    u64 *known = listeners.lookup(&key);
    if (known && *known == sk)
        listeners.delete(&key);
}

/* tcp_set_state(), inet_sk_state_store(): told before sk_state is written. */
int on_inet_sock_set_state(volatile u64 *ctx)
{
    u64 sk = ctx[0];
    int old = ctx[1], new = ctx[2];
    if (sk_protocol(sk, TYPED) != 6)
        return 0;
    u64 key = sk;
    struct followed *f = sockets.lookup(&key);
    u32 port = skc_num(sk, TYPED), netns = sock_netns(sk, TYPED);
    u64 cookie = 0;
    /* inet_csk_clone_lock() copies the request's cookie over the child's just after this: do not give it one now */
    int child = old == TCP_LISTEN && new == TCP_SYN_RECV;
    if (!f) {
        struct port_key local = { netns, port };
        int adopt = child ? ports.lookup(&local) != NULL
                          : old == TCP_CLOSE && (new == TCP_SYN_SENT || new == TCP_LISTEN) && followed_current();
        if (!adopt && !followed_place(netns, port, __builtin_bswap16(skc_dport(sk, TYPED))))
            return 0;
        f = follow(key, 0);
        if (!f)
            return 0;
    }
    if (!child && (cookie = cookie_now(sk)))
        f->cookie = cookie;
    cookie = f->cookie;
    learn_port(netns, port);

    struct socket_state *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, SOCKET_STATE, key, cookie, -1);
    u64 tp = tcp_of(sk);
    snapshot((void *)e, sk, tp, TYPED);
    struct here *at = here();
    if (child && at && at->packet && at->dport == port && !e->dport) {
        /* the peer is copied from the request after this notice: it is the sender of the packet being processed */
        e->dport = at->sport;
        e->saddr[0] = at->dst[0]; e->saddr[1] = at->dst[1];
        e->daddr[0] = at->src[0]; e->daddr[1] = at->src[1];
    }
    if (child)
        e->known = 4;                                       /* still a copy of the listener, but for the buffers */
    if (new == TCP_LISTEN)
        note_listener(key);
    else if (old == TCP_LISTEN && new == TCP_CLOSE)
        forget_listener(key);
    e->old = old;
    e->new = new;
    e->state = new;
    socket_done(e);
    /* these come with sk_state_change(), which wakes readers and writers without sk_data_ready (tcp_finish_connect,
     * tcp_fin, tcp_reset) */
    if ((old == TCP_SYN_SENT && new == TCP_ESTABLISHED) || new == TCP_CLOSE_WAIT || (new == TCP_CLOSE && old != TCP_LISTEN))
        tell_readers(key, cookie, new, sk_shutdown(sk, TYPED), sk_wq(sk, TYPED));
    return 0;
}

/* inet_csk_destroy_sock(): the last notice of this address. */
int on_tcp_destroy_sock(volatile u64 *ctx)
{
    u64 sk = ctx[0], key = sk;
    struct followed *f = sockets.lookup(&key);
    if (!f)
        return 0;
    u64 cookie = f->cookie;
    sockets.delete(&key);
    struct here *at = here();
    if (at && at->dirty == key)
        at->dirty = 0;
    struct socket_destroy *e = socket_record();
    if (!e)
        return lost(SOCKET);
    head(&e->head, SOCKET_DESTROY, key, cookie, -1);
    u64 tp = tcp_of(sk);
    snapshot((void *)e, sk, tp, TYPED);
    if (tp && !e->sport)
        e->sport = __builtin_bswap16(inet_sport(tp, TYPED));
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
    if (!e)
        return lost(SOCKET);
    head(&e->head, state == TCP_LISTEN ? ACCEPT_QUEUED : SOCKET_READABLE, key, cookie, -1);
    struct here *at = here();
    if (at)
        at->ready = e->head.time;
    u64 tp = tcp_of(sk);
    snapshot((void *)e, sk, tp, TYPED);
    socket_done(e);
    if (state == TCP_LISTEN)
        note_listener(key);
    tell_readers(key, cookie, state, sk_shutdown(sk, TYPED), sk_wq(sk, TYPED));
    return 0;
}
