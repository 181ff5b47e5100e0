// Load generator and body sink of `npm run bench -- gateway`, for what wrk cannot do. Linux, standard library only.
//
//	load rate    requests at a fixed rate, latency from the moment each was due (no coordinated omission)
//	load relay   WebSockets in rooms, every message to everybody in its room
//	load down    one large reply, read and thrown away
//	load up      one large body
//	load sink    the upstream for bodies: reads them whole, and gives large replies
//
// Each prints one JSON object, the sink the port that it listens on.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: load rate|relay|down|up|sink"))
	}
	args := os.Args[2:]
	var result interface{}
	var err error
	switch os.Args[1] {
	case "rate":
		debug.SetGCPercent(-1) // a run is short, and a collection would show as somebody's latency
		result, err = rate(args)
	case "relay":
		debug.SetGCPercent(-1)
		result, err = relay(args)
	case "down":
		result, err = down(args)
	case "up":
		result, err = up(args)
	case "sink":
		err = sink(args)
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// percentiles of durations in nanoseconds, exact, in milliseconds.
type percentiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func percentilesOf(samples []int64) percentiles {
	if len(samples) == 0 {
		return percentiles{}
	}
	sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
	at := func(share float64) float64 {
		return float64(samples[int(share*float64(len(samples)-1))]) / 1e6
	}
	return percentiles{at(0.50), at(0.99), at(0.999), at(1)}
}
