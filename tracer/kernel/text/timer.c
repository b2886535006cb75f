/* Objects that live by a timer: request socks (the SYN queue) and TIME_WAIT objects. The kernel has no tracepoint for
 * them, but a timer is armed when they are born and leaves its wheel when they end, and its function says what it is for.
 * mod_timer() of a pending timer and the wheel itself both take a timer off (cancel) before they go on: user space tells
 * these from a real end by what follows (tracer.kernel.settle). */

/* before: the SYN queue's counters move after the timer does (inet_csk_reqsk_queue_added, reqsk_queue_removed) */
static __always_inline int request_event(u64 timer, u16 kind)
{
    u64 req = timer - AT_req_timer;
    u64 listener = skc_listener(req, 0);
    struct followed *f = followed_sock(listener, 0);
    if (!f) {
        if (kind == REQUEST_BORN)
            note_request(req, listener, 1);
        return 0;
    }
    if (kind == REQUEST_BORN)
        note_request(req, listener, 0);
    u8 timeouts = req_num_timeout(req, 0);
    struct here *at = here();
    if (at)
        at->knocks = 0;
    note_listener(listener);
    struct request_born *e = object_record();
    if (!e)
        return lost(OBJECT);
    head(&e->head, kind, req, skc_cookie(req, 0), -1);
    TUPLE(e, req, 0);
    e->listener = listener;
    e->timeouts = timeouts;
    e->qlen = icsk_qlen(listener, 0);
    e->young = icsk_young(listener, 0);
    if (kind == REQUEST_BORN && timeouts == 0) {
        e->qlen++;
        e->young++;
    } else if (kind == REQUEST_GONE) {
        e->qlen--;
        if (timeouts == 0)
            e->young--;
    }
    e->ack_backlog = sk_ack_backlog(listener, 0);
    e->max_ack_backlog = sk_max_ack_backlog(listener, 0);
    object_done(e);
    return 0;
}

static __always_inline int timewait_event(u64 timer, u16 kind)
{
    u64 tw = timer - AT_tw_timer;
    struct pair p;
    pair_of(&p, tw, 0);
    if (!followed_end(&p))
        return 0;
    struct timewait_born *e = object_record();
    if (!e)
        return lost(OBJECT);
    head(&e->head, kind, tw, skc_cookie(tw, 0), -1);
    TUPLE(e, tw, 0);
    e->substate = tw_substate(tw, 0);
    e->left = kind == TIMEWAIT_BORN ? (s64)(timer_expires(timer, 0) - bpf_jiffies64()) * (1000000000 / HZ) : 0;
    object_done(e);
    return 0;
}

#define ON_TIMER(hook, request_kind, timewait_kind) \
int on_##hook(volatile u64 *ctx) \
{ \
    u64 timer = ctx[0]; \
    u64 function = timer_function(timer, TYPED); \
    if (UNLIKELY(function == REQSK_TIMER_HANDLER)) \
        return request_event(timer, request_kind); \
    if (UNLIKELY(function == TW_TIMER_HANDLER)) \
        return timewait_event(timer, timewait_kind); \
    return 0; \
}
ON_TIMER(timer_start, REQUEST_BORN, TIMEWAIT_BORN)
ON_TIMER(timer_cancel, REQUEST_GONE, TIMEWAIT_CANCELLED)
ON_TIMER(timer_expire_entry, REQUEST_TIMER, TIMEWAIT_EXPIRED)
