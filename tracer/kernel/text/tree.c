/* Which processes are followed: a byte for each number that a process can have (PID_MAX_LIMIT, include/linux/threads.h),
 * in memory that user space maps. It is asked at every call and every switch of threads on the machine, where a look into
 * a hash map is a tenth of what the probe takes. */

#define FOLLOW 1                                            /* its calls, threads and sockets are recorded */
#define INHERIT 2                                           /* its children are followed */
#define TREE_PAGE 4096
struct tree_page { u8 how[TREE_PAGE]; };
BPF_F_TABLE("array", u32, struct tree_page, tree, 1024, 1 << 10); /* BPF_F_MMAPABLE */

static __always_inline u8 *how_of(u32 tgid)
{
    u32 page = tgid / TREE_PAGE;
    struct tree_page *p = tree.lookup(&page);
    return p ? &p->how[tgid % TREE_PAGE] : NULL;
}
static __always_inline u32 followed_task(u32 tgid) { u8 *how = how_of(tgid); return how ? *how & FOLLOW : 0; }
