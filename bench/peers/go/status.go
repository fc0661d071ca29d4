package main

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"
)

func (c *collector) readyz(w http.ResponseWriter, r *http.Request) {
	if err := c.sink.ready(r.Context()); err != nil {
		refuse(w, http.StatusServiceUnavailable, "BUFFER_UNAVAILABLE", err)
		return
	}
	answer(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

// status has the counts under the names that Millrace gives them.
func (c *collector) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, fmt.Appendf(nil, `{"status":"ok","in_flight":{"requests":%d},"events":{"accepted":%d}}`,
		c.inFlight.Load(), c.accepted.Load()))
}

func (c *collector) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	write := func(name, kind string, value any) { fmt.Fprintf(w, "# TYPE %s %s\n%[1]s %v\n", name, kind, value) }
	write("peer_events_accepted_total", "counter", c.accepted.Load())
	write("process_cpu_seconds_total", "counter", cpuTime().Seconds())
	write("process_resident_memory_bytes", "gauge", residentBytes())
}

// cpuTime is the user and system time of this process.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// residentBytes is 0 where there is no /proc.
func residentBytes() int {
	var size, resident int
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(statm), &size, &resident)
	}
	return resident * os.Getpagesize()
}
