/* BCC asks for a version; no probe depends on it, since layouts and hooks are looked up at run time. */
#define LINUX_VERSION_CODE 0x050800
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
