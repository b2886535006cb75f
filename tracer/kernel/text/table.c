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
    u64 spares;                                             /* that were ever used */
};
BPF_ARRAY(settings, struct settings, 1);
#if CAST
static __always_inline struct settings *asked_for(void) { return (void *)SETTINGS; }
#else
static __always_inline struct settings *asked_for(void) { int zero = 0; return settings.lookup(&zero); }
#endif

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

/* The same number, but the verifier knows nothing of it: written to its stack at a place that it does not know
 * beforehand, it is read back as any bytes are. So a pointer can be reckoned with; and ways that differ in such a number
 * only become one again: it would go through all that follows once for each. */
static __always_inline u64 plain(u64 pointer)
{
    struct settings *s = asked_for();
    volatile u64 two[2] = {};
    u64 place = (u64)two;
    u64 by = *(volatile u64 *)&s->nought & 8;
    asm volatile("%0 += %1" : "+r"(place) : "r"(by));       /* not by or, as the compiler would */
    *(volatile u64 *)place = pointer;
    return *(volatile u64 *)place;
}

/* ---- sockets by address, until they are freed: three to a set, beside their addresses; what finds no place goes to one of
 * the spares behind the sets, and a hash map says to which. Wherever it is, an entry is reached by its index, in one look:
 * for the verifier there is one way then, and all that follows is gone through once */

#define SOCKET_BITS 15                                      /* so many sets */
#define PLACES 3
#define SPARES 65536
#define FIRST_SPARE (4U << SOCKET_BITS)
#define NOWHERE 0xfff00000U                                 /* and more: behind all */
#define TAKEN 1                                             /* no address: the entry is being filled in */
/* a set is a place that says whose the three behind it are, and how many more belong here and are spares */
union socket_place { struct { u64 of[PLACES]; u64 spilled; } set; struct followed entry; };
BPF_F_TABLE("array", u32, union socket_place, socket_places, FIRST_SPARE + SPARES, 1 << 10); /* MMAPABLE: begins a page */
BPF_HASH(spilled_sockets, u64, u32, SPARES);                /* -> index */
BPF_QUEUE(free_spares, u32, SPARES);                        /* those that were used before; the rest is settings.spares */

static __always_inline u32 set_of(u64 sk) { return sk * ODD >> (64 - SOCKET_BITS) << 2; }

/* Of the places the first that holds this; PLACES for none. */
static __always_inline u64 place_of(union socket_place *s, u64 what)
{
    volatile u64 *of = s->set.of;
    u64 no = same(of[0], what) ^ 1, nor = same(of[1], what) ^ 1;
    return no * (1 + nor * (2 - same(of[2], what)));
}

static __always_inline struct followed *socket_entry(u64 pointer)
{
    u64 sk = plain(pointer);
    u32 at = set_of(sk), index = at | NOWHERE;
    union socket_place *s = socket_places.lookup(&at);
    if (!s)
        return NULL;
    u64 place = place_of(s, sk);
    if (place < PLACES) {
        index = at + 1 + place;
    } else if (UNLIKELY(s->set.spilled)) {
        u32 *spare = spilled_sockets.lookup(&sk);
        if (spare)
            index = *spare;
    }
    return (struct followed *)socket_places.lookup(&index);
}

/* A spare that is nobody's; NOWHERE when there is none. */
static __always_inline u32 new_spare(void)
{
    struct settings *s = asked_for();
    u32 index;
    if (!s || !free_spares.pop(&index))
        return s ? index : NOWHERE;
    u64 number = __sync_fetch_and_add(&s->spares, 1);
    return number < SPARES ? FIRST_SPARE + number : NOWHERE;
}

/* One that has no entry. NULL: there are too many already. */
static __always_inline struct followed *follow(u64 pointer, u64 cookie)
{
    u64 sk = plain(pointer);
    u32 at = set_of(sk), index;
    union socket_place *s = socket_places.lookup(&at), *entry;
    if (!s)
        return NULL;
    u64 place = place_of(s, 0) & 3;
    int own = place < PLACES && __sync_val_compare_and_swap(&s->set.of[place], 0, TAKEN) == 0;
    index = own ? at + 1 + place : new_spare();
    entry = socket_places.lookup(&index);
    if (!entry)
        return NULL;
    entry->entry = (struct followed){ cookie };
    if (own) {
        __sync_lock_test_and_set(&s->set.of[place], sk);    /* only now may it be found */
    } else {
        __sync_fetch_and_add(&s->set.spilled, 1);
        if (spilled_sockets.update(&sk, &index))
            return NULL;
    }
    return &entry->entry;
}

static __always_inline void unfollow(u64 pointer)
{
    u64 sk = plain(pointer);
    u32 at = set_of(sk);
    union socket_place *s = socket_places.lookup(&at);
    if (!s)
        return;
#pragma unroll
    for (int i = 0; i < PLACES; i++)
        if (*(volatile u64 *)&s->set.of[i] == sk)
            s->set.of[i] = 0;
    if (!UNLIKELY(s->set.spilled))
        return;
    u32 *spare = spilled_sockets.lookup(&sk);
    u32 index = spare ? *spare : 0;
    if (spare && !spilled_sockets.delete(&sk)) {
        __sync_fetch_and_add(&s->set.spilled, -1);
        free_spares.push(&index, 0);
    }
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
static __always_inline u64 plain(u64 number) { return number; }

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
