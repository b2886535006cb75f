// What a goroutine switch costs: two goroutines on one processor hand it to each other.
//
// Usage: switches N; says how many nanoseconds N switches took.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

func main() {
	runtime.GOMAXPROCS(1)
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	done := make(chan struct{})
	began := time.Now()
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
	fmt.Println(time.Since(began).Nanoseconds())
}
