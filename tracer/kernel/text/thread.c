/* Threads of followed processes: leaving the processor, made runnable, running again; and processes that come and go. */

static __always_inline void comm_of(char *comm, u64 task) { WORDS_AT((u32 *)comm, task + AT_task_comm, 4); }

static __always_inline void thread_record(u64 task, u16 kind, u32 other, u32 was, u64 by)
{
    struct thread_blocked *e = small_record();
    if (!e) {
        lost(SMALL);
        return;
    }
    head(&e->head, kind, 0, 0, -1);
    e->head.pid = task_tgid(task, 0);
    e->head.tid = task_pid(task, 0);
    e->other = other;
    e->was = was;
    e->by = by;
    comm_of(e->comm, task);
    small_done(e);
}

static __always_inline int followed_thread(u64 task)
{
    return followed_task(task_tgid(task, 0));
}

/* __schedule(); preempt tells that prev was pushed off, whatever its state says */
int on_sched_switch(volatile u64 *ctx)
{
    u64 prev = ctx[1], next = ctx[2];
    struct here *at = here();
    if (at)
        at->packet = at->ready = 0;                         /* a softirq never sleeps: this is task context */
#if SWITCH_HAS_STATE
    u32 was = ctx[3];
#else
    u32 was = task_state(prev, 0);
#endif
    was = (u8)ctx[0] ? 0 : was & 0x7f;                      /* without modifiers such as TASK_FREEZABLE */
    if (followed_thread(prev))
        thread_record(prev, THREAD_BLOCKED, task_pid(next, 0), was, 0);
    if (followed_thread(next))
        thread_record(next, THREAD_RUNNING, task_pid(prev, 0), 0, 0);
    return 0;
}

/* try_to_wake_up(), in the context of the waker */
int on_sched_waking(volatile u64 *ctx)
{
    u64 task = ctx[0];
    if (!followed_thread(task))
        return 0;
    struct here *at = here();
    if (at && at->full)
        tell_writers(at);
    thread_record(task, THREAD_WOKEN, (u32)bpf_get_current_pid_tgid(), 0, at ? at->ready : 0);
    return 0;
}

int on_sched_process_fork(volatile u64 *ctx)
{
    u64 child = ctx[1];
    u32 parent = bpf_get_current_pid_tgid() >> 32, tgid = task_tgid(child, 0);
    u8 *how = how_of(parent), *its = how_of(tgid);
    if (!how || !its)
        return 0;
    u32 mine = *how;
    if (tgid != parent) {
        if (!(mine & INHERIT))
            return 0;
        *its = FOLLOW | INHERIT;
    } else if (!(mine & FOLLOW)) {
        return 0;
    }
    struct process_fork *e = small_record();
    if (!e)
        return lost(SMALL);
    head(&e->head, PROCESS_FORK, 0, 0, -1);
    e->child = task_pid(child, 0);
    e->child_pid = tgid;
    comm_of(e->comm, child);
    small_done(e);
    return 0;
}

/* do_exit(): the file descriptors are closed after this */
int on_sched_process_exit(volatile u64 *ctx)
{
    u64 task = ctx[0];
    u32 tgid = task_tgid(task, 0);
    u8 *how = how_of(tgid);
    if (!how || !*how)
        return 0;
    u32 mine = *how;
    u64 signal = task_signal(task, 0);
    if (signal && signal_live(signal, 0) == 0)
        *how = 0;                                           /* the last thread of the process */
    if (!(mine & FOLLOW))
        return 0;
    struct process_exit *e = small_record();
    if (!e)
        return lost(SMALL);
    head(&e->head, PROCESS_EXIT, 0, 0, -1);
    comm_of(e->comm, task);
    small_done(e);
    return 0;
}
