/* Rings, one for each class of record, each of one stride. A record that found no room is counted (lost); those written
 * are where the ring has come to, by its stride.
 *
 * The kernel's ring buffers take a lock to reserve and a locked exchange to hand over, which waits until the record,
 * written to cold memory, is out. So a ring is an array of slots in memory that user space maps, a part of it for each
 * processor: a place is claimed by compare-and-swap of a counter that nobody else touches (a program may be interrupted by
 * another, and with PREEMPT_RT even put aside for one), and handed over by one store to the head of the slot. That saves
 * some 80 ns a record. Where there is no compare-and-swap (as in table.c) or where stores may overtake each other, the rings
 * are the kernel's. tracer.kernel.slots reads the one, tracer.kernel.ring the other.
 */

BPF_PERCPU_ARRAY(tallies, u64, 8);                          /* 2 * ring + 1: lost */

static __always_inline void tally(int slot)
{
    u64 *n = tallies.lookup(&slot);
    if (n)
        __sync_fetch_and_add(n, 1); /* a plain ++ loses one in a million: a program can be interrupted by another */
}
static __always_inline int lost(int ring) { tally(2 * ring + 1); return 0; }

#if OWN_RINGS
#define TRIES 4                                             /* each is spoilt by whoever interrupts just there */
#define WRITING (1U << 31)                                  /* in the head of a slot, beside the number of its record */

/* A processor's part of a ring: how many records it has been given, its slots, from the first on; on a line of its own how
 * many have been taken. All but `next` is user space's to write. */
struct turn { u64 next; u64 slots; u64 first; u64 pad[5]; u64 taken; u64 more[7]; };
BPF_F_TABLE("array", u32, struct turn, turns, 1, 1 << 10);  /* BPF_F_MMAPABLE; 4 * processor + ring */

/* The number of the record and where it goes; 0: no room. */
static __always_inline u64 claim(int ring, u32 *at)
{
    u32 which = 4 * bpf_get_smp_processor_id() + ring;
    struct turn *turn = turns.lookup(&which);
    if (!turn)
        return 0;
#pragma unroll
    for (int i = 0; i < TRIES; i++) {
        u64 next = *(volatile u64 *)&turn->next;
        if (UNLIKELY(next - *(volatile u64 *)&turn->taken >= turn->slots))
            return 0;
        if (__sync_val_compare_and_swap(&turn->next, next, next + 1) == next) {
            *at = turn->first + next % turn->slots;
            return next + 1;
        }
    }
    return 0;
}

/* The record follows right behind its number, so that the usual ones fill two or three lines of memory to the end: its
 * 64-bit words lie across, which costs less than one more line. */
static __always_inline void *begun(u32 *slot, u64 number)
{
    *slot = (number & ~WRITING) | WRITING;
    return slot + 1;
}
static __always_inline void done(void *e)
{
    volatile u32 *slot = (u32 *)e - 1;
    asm volatile("" ::: "memory");                          /* not before the record is written */
    *slot &= ~WRITING;
}

/* BCC takes no map's function from within a macro, hence three times the same */
struct small_slot { u32 number; u32 record[SMALL_BODY / 4]; u32 pad; };
BPF_F_TABLE("array", u32, struct small_slot, small_ring, 1, 1 << 10);
static __always_inline void *small_record(void)
{
    u32 at = 0;
    u64 number = claim(SMALL, &at);
    struct small_slot *slot = number ? small_ring.lookup(&at) : NULL;
    return slot ? begun(&slot->number, number) : NULL;
}
static __always_inline void small_done(void *e) { done(e); }

struct object_slot { u32 number; u32 record[OBJECT_BODY / 4]; u32 pad; };
BPF_F_TABLE("array", u32, struct object_slot, object_ring, 1, 1 << 10);
static __always_inline void *object_record_in(u32 *at)     /* and in which slot */
{
    u64 number = claim(OBJECT, at);
    struct object_slot *slot = number ? object_ring.lookup(at) : NULL;
    return slot ? begun(&slot->number, number) : NULL;
}
static __always_inline void *object_record(void) { u32 at = 0; return object_record_in(&at); }
static __always_inline void object_done(void *e) { done(e); }

struct socket_slot { u32 number; u32 record[SOCKET_BODY / 4]; u32 pad; };
BPF_F_TABLE("array", u32, struct socket_slot, socket_ring, 1, 1 << 10);
static __always_inline void *socket_record(void)
{
    u32 at = 0;
    u64 number = claim(SOCKET, &at);
    struct socket_slot *slot = number ? socket_ring.lookup(&at) : NULL;
    return slot ? begun(&slot->number, number) : NULL;
}
static __always_inline void socket_done(void *e) { done(e); }

#else
BPF_RINGBUF_OUTPUT(small_ring, SMALL_PAGES);
BPF_RINGBUF_OUTPUT(object_ring, OBJECT_PAGES);
BPF_RINGBUF_OUTPUT(socket_ring, SOCKET_PAGES);
static __always_inline void *small_record(void) { return small_ring.ringbuf_reserve(SMALL_BODY); }
static __always_inline void *object_record(void) { return object_ring.ringbuf_reserve(OBJECT_BODY); }
static __always_inline void *object_record_in(u32 *at) { return object_record(); }
static __always_inline void *socket_record(void) { return socket_ring.ringbuf_reserve(SOCKET_BODY); }
/* flag 1, BPF_RB_NO_WAKEUP: user space drains by the clock */
static __always_inline void small_done(void *e) { small_ring.ringbuf_submit(e, 1); }
static __always_inline void object_done(void *e) { object_ring.ringbuf_submit(e, 1); }
static __always_inline void socket_done(void *e) { socket_ring.ringbuf_submit(e, 1); }
#endif
