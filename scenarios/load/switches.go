// What a goroutine switch costs: two goroutines on one processor hand it to each other.
//
// Usage: switches N; says how many nanoseconds of processor time N switches took.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// Processor time of this process so far, in nanoseconds.
func used() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	runtime.GOMAXPROCS(1)
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	done := make(chan struct{})
	began := used()
	for pair := 0; pair < 2; pair++ {
		go func() {
			for i := 0; i < n/2; i++ {
				runtime.Gosched()
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
	fmt.Println(used() - began)
}
