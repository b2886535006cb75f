/* Who waits for a socket: its wait queue (sk_wq). An entry whose function is ep_poll_callback belongs to an epoll item;
 * the walk is made just before the kernel's own (sk_data_ready -> sock_def_readable -> ep_poll_callback). */

#define MAX_WAITERS 16

static __always_inline void tell_readers(u64 sk, u64 cookie, u8 state, u8 shut, u64 wq)
{
#if HAVE_wq_head && HAVE_wait_entry && HAVE_eppoll_base && HAVE_epitem_ep
    if (!wq)
        return;
    u64 list = wq + AT_wq_list, entry = wq_head(wq, 0);
    for (int i = 0; i < MAX_WAITERS && entry && entry != list; i++) {
        u64 wait = entry - AT_wait_entry;
        entry = wait_next(wait, 0);
        if (wait_func(wait, 0) != EP_POLL_CALLBACK)
            continue;
        u64 item = eppoll_base(wait - AT_eppoll_wait, 0);
        struct epoll_ready *e = small_record();
        if (!e) {
            lost(SMALL);
            continue;                                       /* the next waiter is told, and counted, all the same */
        }
        head(&e->head, EPOLL_READY, sk, cookie, epitem_fd(item, 0));
        struct here *at = here();
        if (at)
            at->ready = e->head.time;
        e->ep = epitem_ep(item, 0);
        e->events = epitem_events(item, 0);
        e->data = epitem_data(item, 0);
        e->state = state;
        e->shutdown = shut;
        small_done(e);
    }
#endif
}
