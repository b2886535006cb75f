// An echo server as the stories tell of it: one goroutine that accepts, one for each connection that reads and writes.
//
// Accept() and Read() look as if they blocked a thread. They do not: the runtime tries the call, and on EAGAIN parks the
// goroutine in the poll descriptor of the file descriptor until epoll says that it is ready. A client that has half
// closed its side (FIN) makes Read() return io.EOF; by then all it has sent was echoed, and the server closes too.
//
// Usage: echo [HOST PORT], default 127.0.0.1 and a free port; says on standard output where it listens.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	address := "127.0.0.1:0"
	if len(os.Args) > 2 {
		address = net.JoinHostPort(os.Args[1], os.Args[2])
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		go serve(conn)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			if _, err := conn.Write(buffer[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
	}
}
