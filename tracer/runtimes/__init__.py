"""What goes on inside a program, told by its language's runtime: tasks, poll descriptors, who asks epoll.

The kernel knows threads and descriptors. That a thread serves ten thousand goroutines, and which of them a readiness
notice wakes, only the runtime knows. Its sources stand beside the kernel's and bring the same kind of events.
"""
