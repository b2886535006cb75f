/* The tables that are asked at every event: which socket is followed, and which tuple. They lie in plain memory (arrays,
 * found without a call) as sets of a few places; a number chooses the set, and an entry is in any of its places. The
 * kernel's hash maps take 75 ns for a look and 500 for a new entry or its end, its LRU maps up to 1000: mostly for calls
 * and locks. Places are claimed by compare-and-swap, which programs have since 5.12; where bpf_rdonly_cast is missing
 * (before 6.2) these tables are the kernel's maps.
 *
 * An entry's place is found by arithmetic, not by branches: the verifier would go through all that follows once for each
 * place. */

struct settings {
    u32 by_netns; u32 by_port; u32 by_cgroup; u32 everything; u64 token; u32 ourselves;
    u32 strangers;                                          /* 1 as soon as the programs have noted one (socket.c) */
    u32 queues; u32 readiness;                              /* are asked for also at changes of state */
    u64 nought;                                             /* 0, which the verifier does not know */
    u64 listener;                                           /* that was noted last of all (socket.c) */
};
BPF_ARRAY(settings, struct settings, 1);
static __always_inline struct settings *asked_for(void) { int zero = 0; return settings.lookup(&zero); }

#define ODD 0xd6e8feb86659fd93ULL                           /* has its bits mixed well, as a multiplier */

struct port_key { u32 netns; u32 port; };
struct followed { u64 cookie; struct port_key listens; u64 learned; };
/* listens: port 0: no; learned: 0: not its tuple */

#define FIRST_END 1
#define SECOND_END 2
#define BOTH_ENDS 3

#if CAST
/* 1 where two numbers are the same, else 0; the compiler would make a branch of it. */
static __always_inline u64 same(u64 one, u64 other)
{
    u64 x = one ^ other, minus = -x;
    asm volatile("" : "+r"(minus));
    return ((x | minus) >> 63) ^ 1;
}

/* What the verifier takes for a pointer, as a number to reckon with: written to its stack at a place that it does not
 * know beforehand, it is read back as any bytes are. */
static __always_inline u64 number(u64 pointer)
{
    struct settings *s = asked_for();
    volatile u64 two[2] = {};
    u64 place = (u64)two;
    if (!s)
        return 2;                                           /* nobody's address; some verifiers do not know that it is there */
    u64 by = *(volatile u64 *)&s->nought & 8;
    asm volatile("%0 += %1" : "+r"(place) : "r"(by));       /* not by or, as the compiler would */
    *(volatile u64 *)place = pointer;
    return *(volatile u64 *)place;
}

/* ---- sockets by address, until they are freed: three to a set; what finds no place is in a hash map, and counted in its
 * set */

#define SOCKET_BITS 15                                      /* so many sets */
#define PLACES 3
#define TAKEN 1                                             /* no address: the entry is being filled in */
struct socket_set { u64 of[PLACES]; u64 spilled; struct followed entry[PLACES + 1]; }; /* the last: never found */
BPF_F_TABLE("array", u32, struct socket_set, socket_sets, 1 << SOCKET_BITS, 1 << 10); /* MMAPABLE: begins a page */
BPF_HASH(spilled_sockets, u64, struct followed, 65536);

static __always_inline struct socket_set *set_of(u64 sk)
{
    u32 at = sk * ODD >> (64 - SOCKET_BITS);
    return socket_sets.lookup(&at);
}

/* Of the places the first that holds this; PLACES for none. */
static __always_inline u64 place_of(struct socket_set *s, u64 what)
{
    volatile u64 *of = s->of;
    u64 no = same(of[0], what) ^ 1, nor = same(of[1], what) ^ 1;
    return no * (1 + nor * (2 - same(of[2], what)));
}

static __always_inline struct followed *socket_entry(u64 pointer)
{
    u64 sk = number(pointer);
    struct socket_set *s = set_of(sk);
    if (!s)
        return NULL;
    u64 place = place_of(s, sk);
    if (place < PLACES)
        return &s->entry[place & 3];
    return UNLIKELY(s->spilled) ? spilled_sockets.lookup(&sk) : NULL;
}

/* One that has no entry. */
static __always_inline struct followed *follow(u64 pointer, u64 cookie)
{
    struct followed first = { cookie };
    u64 sk = number(pointer);
    struct socket_set *s = set_of(sk);
    if (!s)
        return NULL;
    u64 place = place_of(s, 0) & 3;
    if (place < PLACES && __sync_val_compare_and_swap(&s->of[place], 0, TAKEN) == 0) {
        s->entry[place] = first;
        __sync_lock_test_and_set(&s->of[place], sk);        /* only now may it be found */
        return &s->entry[place];
    }
    __sync_fetch_and_add(&s->spilled, 1);
    if (spilled_sockets.update(&sk, &first))
        __sync_fetch_and_add(&s->spilled, -1);
    return spilled_sockets.lookup(&sk);
}

static __always_inline void unfollow(u64 pointer)
{
    u64 sk = number(pointer);
    struct socket_set *s = set_of(sk);
    if (!s)
        return;
#pragma unroll
    for (int i = 0; i < PLACES; i++)
        if (*(volatile u64 *)&s->of[i] == sk)
            s->of[i] = 0;
    if (UNLIKELY(s->spilled) && !spilled_sockets.delete(&sk))
        __sync_fetch_and_add(&s->spilled, -1);
}

/* ---- tuples by number: eight to a set, each a word, the number with the followed ends in place of its last two bits. A
 * set that is full loses one of them; those of connections that are at work are put in again (packet.c) */

#define PAIR_BITS 15
struct pair_set { u64 of[8]; };
BPF_F_TABLE("array", u32, struct pair_set, pair_sets, 1 << PAIR_BITS, 1 << 10);

static __always_inline struct pair_set *pairs_with(u64 key)
{
    u32 at = key >> (64 - PAIR_BITS);
    return pair_sets.lookup(&at);
}

static __always_inline u32 ends_of(u64 key)
{
    struct pair_set *s = pairs_with(key);
    u64 ends = 0;
    if (!s)
        return 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u64 word = *(volatile u64 *)&s->of[i];
        ends |= word & (0 - same(word & ~(u64)BOTH_ENDS, key));
    }
    return ends & BOTH_ENDS;
}

/* before: what `ends_of` said */
static __always_inline void set_ends(u64 key, u32 before, u32 ends)
{
    struct pair_set *s = pairs_with(key);
    u64 old = before ? key | before : 0, new = ends ? key | ends : 0;
    if (!s)
        return;
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (*(volatile u64 *)&s->of[i] == old && __sync_val_compare_and_swap(&s->of[i], old, new) == old)
            return;
    if (!before)
        s->of[key >> 2 & 7] = new;
}

#else
BPF_HASH(sockets, u64, struct followed, 131072);

static __always_inline struct followed *socket_entry(u64 sk) { return sockets.lookup(&sk); }
static __always_inline void unfollow(u64 sk) { sockets.delete(&sk); }
static __always_inline struct followed *follow(u64 sk, u64 cookie)
{
    struct followed first = { cookie };
    sockets.update(&sk, &first);
    return sockets.lookup(&sk);
}

BPF_TABLE("lru_hash", u64, u32, pairs, 65536);

static __always_inline u32 ends_of(u64 key) { u32 *ends = pairs.lookup(&key); return ends ? *ends : 0; }
static __always_inline void set_ends(u64 key, u32 before, u32 ends)
{
    u32 *there = before ? pairs.lookup(&key) : NULL;        /* to look first is much cheaper than to put in anew */
    if (!ends)
        pairs.delete(&key);
    else if (there)
        *there = ends;
    else
        pairs.update(&key, &ends);
}
#endif
