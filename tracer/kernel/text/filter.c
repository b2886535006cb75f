/* Who is followed. The core is a map from a socket's address to its cookie, asked at every event about a socket, so it
 * does not matter that softirqs run in whatever task they interrupt: the current task never stands for a socket's owner
 * there. Sockets come into the map (table.c) in task context when their process is followed, as children of a followed listener,
 * or at first sight when their place is: port, network namespace, cgroup. */

BPF_HASH(netns_set, u32, u32, 1024);                        /* namespace inode */
BPF_HASH(port_set, u32, u32, 1024);                         /* port */
BPF_HASH(cgroup_set, u64, u32, 1024);                       /* id of a cgroup of the unified hierarchy */

/* What is no socket (a received packet, a TIME_WAIT object, a drop) is known by its tuple, or by the port of a followed
 * listener. A connection has one entry, which says which of its ends are followed sockets'. Its key is a number made of
 * the tuple: that two of a million connections have the same one, and a stranger's packets are taken for a followed
 * socket's, happens less than once in 10^6 times. */
struct pair { u32 netns; u16 port; u16 peer_port; u64 own[2]; u64 peer[2]; };
BPF_HASH(ports, struct port_key, u32, 8192);                /* -> how many followed sockets listen there */

/* ---- places */

static __always_inline int followed_place(u32 netns, u32 port, u32 peer)
{
    struct settings *s = asked_for();
    if (!s)
        return 0;
    if (s->everything)
        return 1;
    if (s->by_netns && netns_set.lookup(&netns))
        return 1;
    return s->by_port && (port_set.lookup(&port) || port_set.lookup(&peer));
}

#define MAX_DEPTH 24                                        /* of cgroups below the one asked for */
BPF_TABLE("lru_hash", u64, u32, cgroup_seen, 4096);         /* id -> whether it is a followed one, or below one */

/* A struct cgroup of the unified hierarchy: followed when itself or an ancestor was asked for. */
static __always_inline int followed_cgroup(u64 cgroup)
{
    u64 kn = cgroup ? cgroup_kn(cgroup, 0) : 0, id = kn ? kernfs_id(kn, 0) : 0;
    u32 *seen = id ? cgroup_seen.lookup(&id) : NULL, inside = 0;
    if (!id)
        return 0;
    if (seen)
        return *seen;
    for (int i = 0; i < MAX_DEPTH && kn; i++) {
        u64 at = kernfs_id(kn, 0);
        if (cgroup_set.lookup(&at)) {
            inside = 1;
            break;
        }
        u64 css = css_parent(cgroup + AT_cgroup_self, 0);
        cgroup = css ? css - AT_cgroup_self : 0;
        kn = cgroup ? cgroup_kn(cgroup, 0) : 0;
    }
    cgroup_seen.update(&id, &inside);
    return inside;
}

/* That of the task which made the socket, for an accepted one its listener's: cgroup_sk_alloc(), cgroup_sk_clone() */
static __always_inline int followed_sock_cgroup(u64 sk)
{
    u64 cgroup = read_u64(sk + AT_sk_cgroup);               /* a plain number: bits of a typed pointer may not be tested */
    return !(cgroup & 1) && followed_cgroup(cgroup);        /* before 5.16 an odd value is a net_cls id */
}

static __always_inline int followed_sock_place(u64 sk, u32 netns, u32 port, u32 peer)
{
    struct settings *s = asked_for();
    return followed_place(netns, port, peer) || (s && s->by_cgroup && followed_sock_cgroup(sk));
}

/* The current task's processes are followed by name (tree) or by the place they live in. */
static __always_inline int followed_current(void)
{
    struct settings *s = asked_for();
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    if (followed_task(tgid))
        return 1;
    if (!s || tgid == 0 || tgid == s->ourselves)
        return 0;
    if (s->everything)
        return 1;
    u64 task = current_task();
    if (s->by_cgroup) {
        u64 set = task_cgroups(task, 0);
        if (set && followed_cgroup(css_set_cgroup(set, 0)))
            return 1;
    }
    if (!s->by_netns)
        return 0;
    u64 proxy = task_nsproxy(task, 0);
    u32 inum = proxy ? net_inum(nsproxy_net(proxy, 0), 0) : 0;
    return netns_set.lookup(&inum) != NULL;
}

/* ---- tuples */

static __always_inline void pair_of(struct pair *p, u64 sk, const int typed)
{
    p->netns = sock_netns(sk, typed);
    p->port = skc_num(sk, typed);
    p->peer_port = __builtin_bswap16(skc_dport(sk, typed));
    if (skc_family(sk, typed) == 10) {
        v6(p->own, sk + AT_skc_v6_rcv_saddr);
        v6(p->peer, sk + AT_skc_v6_daddr);
    } else {
        v4(p->own, skc_rcv_saddr(sk, typed));
        v4(p->peer, skc_daddr(sk, typed));
    }
}

static __always_inline u64 end_number(u64 *address, u32 port)
{
    u64 x = (address[0] + port) * ODD;
    x = ((x ^ x >> 32) + address[1]) * ODD;
    x = (x ^ x >> 32) * ODD;
    return x ^ x >> 32;
}

/* The connection as the map has it, the same from both its ends; returns the bit of p's own end. */
static __always_inline u32 number_of(u64 *key, struct pair *p)
{
    u64 own = end_number(p->own, p->port), peer = end_number(p->peer, p->peer_port);
    *key = ((own + peer) ^ p->netns * ODD) & ~(u64)BOTH_ENDS;
    return own <= peer ? FIRST_END : SECOND_END;
}

/* p's own end is a followed one's. */
static __always_inline void learn_pair(struct pair *p)
{
    u64 key;
    u32 end = number_of(&key, p), ends = ends_of(key);
    if (!(ends & end))
        set_ends(key, ends, ends | end);
}

/* A stranger has this end of the tuple now, or the other one, or neither. Returns whether an end of it is still a followed
 * one's. */
static __always_inline int forget_pair(struct pair *p, int own, int other)
{
    u64 key;
    u32 end = number_of(&key, p), ends = ends_of(key), left = ends & ~((own ? end : 0) | (other ? BOTH_ENDS ^ end : 0));
    if (UNLIKELY(left != ends))
        set_ends(key, ends, left);
    return left != 0;
}

/* A followed socket: so are packets that name it. One that connects has no port yet: its SYN will say (packet.c). */
static __always_inline void learn(struct followed *f, u64 sk, u32 state, const int typed)
{
    if (state == TCP_LISTEN) {
        struct port_key key = { sock_netns(sk, typed), skc_num(sk, typed) };
        u32 zero = 0, *count = ports.lookup(&key);
        if (f->listens.port)
            return;
        f->listens = key;
        if (!count) {
            ports.update(&key, &zero);
            count = ports.lookup(&key);
        }
        if (count)
            __sync_fetch_and_add(count, 1);
    } else if (!f->learned && skc_num(sk, typed) && skc_dport(sk, typed)) {
        struct pair p;
        pair_of(&p, sk, typed);
        learn_pair(&p);
        f->learned = 1;
    }
}

/* The socket itself may have lost its port by now: inet_put_port() */
static __always_inline void listens_no_more(struct followed *f)
{
    struct port_key key = f->listens;
    u32 *count = key.port ? ports.lookup(&key) : NULL;
    f->listens.port = 0;
    if (!count)
        return;
    __sync_fetch_and_add(count, -1);
    if (!*(volatile u32 *)count)
        ports.delete(&key);
}

static __always_inline int followed_port(u32 netns, u32 port)
{
    struct port_key key = { netns, port };
    return ports.lookup(&key) != NULL;
}

/* Either end of the tuple is a followed one's, by what is not that connection's own. */
static __always_inline int followed_ports(struct pair *p)
{
    return followed_port(p->netns, p->port) || followed_port(p->netns, p->peer_port) ||
           followed_place(p->netns, p->port, p->peer_port);
}

static __always_inline int followed_tuple(struct pair *p)
{
    return forget_pair(p, 0, 0) || followed_ports(p);
}

/* Its own end is. */
static __always_inline int followed_end(struct pair *p)
{
    u64 key;
    u32 end = number_of(&key, p);
    return (ends_of(key) & end) || followed_port(p->netns, p->port) ||
           followed_place(p->netns, p->port, p->peer_port);
}

/* ---- sockets */

/* The entry of a followed socket; a socket seen for the first time is taken in when its place is followed. */
static __always_inline struct followed *followed_sock(u64 sk, const int typed)
{
    struct followed *f = socket_entry(sk);
    struct settings *s = asked_for();
    if (f || !s || !(s->everything | s->by_netns | s->by_port | s->by_cgroup))
        return f;
    if (sk_protocol(sk, typed) != 6)
        return NULL;
    u32 port = skc_num(sk, typed), netns = sock_netns(sk, typed);
    if (!followed_sock_place(sk, netns, port, __builtin_bswap16(skc_dport(sk, typed))))
        return NULL;
    f = follow(sk, skc_cookie(sk, typed));
    if (f)
        learn(f, sk, skc_state(sk, typed), typed);
    return f;
}
