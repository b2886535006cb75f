// A client as the stories tell of it: it dials, listens to what the server has to say, and closes.
//
// Dial() looks as if it waited for the handshake. It does not: the socket is non-blocking, connect() returns EINPROGRESS,
// and the goroutine parks in the poll descriptor as a *writer*: the socket becomes writable when the handshake has ended.
// How it has ended, the runtime then asks SO_ERROR.
//
// Usage: dial HOST PORT; says on standard output what became of it.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	conn, err := net.Dial("tcp", net.JoinHostPort(os.Args[1], os.Args[2]))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("connected from", conn.LocalAddr())
	words, err := io.ReadAll(conn)
	fmt.Printf("%q, %v\n", words, err)
	conn.Close()
}
