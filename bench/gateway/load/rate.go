package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type rateResult struct {
	percentiles
	Requests int `json:"requests"`
	// Of the rate that was asked for. Below 1 the peer did not keep up.
	Achieved float64 `json:"achieved"`
	// Replies that were not 200, and requests without a reply.
	Failed int `json:"failed"`
}

type requester struct {
	fd       int
	due      int64
	buffer   []byte
	received []byte
}

// rate sends GETs at equal distances whether or not replies come. A request for which no connection is free waits for
// one; its latency counts from the moment it was due.
func rate(args []string) (interface{}, error) {
	flags := flag.NewFlagSet("rate", flag.ExitOnError)
	address := flags.String("address", "", "IPv4 address and port")
	path := flags.String("path", "/", "")
	tokens := flags.String("tokens", "", "file with one access token a line; requests take turns")
	connections := flags.Int("connections", 64, "")
	perSecond := flags.Int("rate", 1000, "requests a second")
	seconds := flags.Float64("seconds", 5, "that count")
	warmup := flags.Float64("warmup", 1, "seconds before, that do not")
	flags.Parse(args)
	runtime.LockOSThread()

	lines, err := os.ReadFile(*tokens)
	if err != nil {
		return nil, err
	}
	var requests [][]byte
	for _, token := range strings.Fields(string(lines)) {
		requests = append(requests, []byte(fmt.Sprintf(
			"GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", *path, *address, token)))
	}

	poller, err := newPoller()
	if err != nil {
		return nil, err
	}
	open := map[int]*requester{}
	idle := make([]*requester, 0, *connections)
	for index := 0; index < *connections; index++ {
		fd, err := dial(*address)
		if err != nil {
			return nil, err
		}
		syscall.SetNonblock(fd, true)
		if err := poller.add(fd); err != nil {
			return nil, err
		}
		connection := &requester{fd: fd, buffer: make([]byte, 64<<10)}
		open[fd] = connection
		idle = append(idle, connection)
	}

	period := time.Second / time.Duration(*perSecond)
	total := int((*seconds + *warmup) * float64(*perSecond))
	samples := make([]int64, 0, total)
	result := rateResult{}
	var waiting []int64 // when they were due
	sent, done := 0, 0

	send := func(connection *requester, due int64) error {
		connection.due = due
		connection.received = connection.buffer[:0]
		sent++
		return writeAll(connection.fd, requests[sent%len(requests)])
	}
	if err := poller.tick(period); err != nil {
		return nil, err
	}
	start := now()
	measureFrom := start + int64(*warmup*1e9)
	due := start
	scheduled := 0
	var doneInTime int
	end := start + int64((*seconds+*warmup)*1e9)

	onReadable := func(fd int) error {
		connection := open[fd]
		size := len(connection.received)
		count, err := syscall.Read(fd, connection.buffer[size:])
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return nil
		}
		if err != nil || count == 0 {
			return fmt.Errorf("the peer closed a connection (%d replies so far): %v", done, err)
		}
		connection.received = connection.buffer[:size+count]
		complete, ok, err := parseReply(connection.received)
		if err != nil || !complete {
			return err
		}
		at := now()
		done++
		if at <= end {
			doneInTime++
		}
		if connection.due >= measureFrom {
			samples = append(samples, at-connection.due)
			if !ok {
				result.Failed++
			}
		}
		if len(waiting) > 0 {
			next := waiting[0]
			waiting = waiting[1:]
			return send(connection, next)
		}
		idle = append(idle, connection)
		return nil
	}

	// Stragglers get five seconds.
	for done < total && now() < end+5e9 {
		ticks, err := poller.wait(onReadable)
		if err != nil {
			return nil, err
		}
		for ; ticks > 0 && scheduled < total; ticks-- {
			scheduled++
			due += int64(period)
			if len(idle) == 0 {
				waiting = append(waiting, due)
				continue
			}
			connection := idle[0]
			idle = idle[1:]
			if err := send(connection, due); err != nil {
				return nil, err
			}
		}
	}
	result.Failed += total - done
	result.Requests = len(samples)
	result.Achieved = float64(doneInTime) / float64(total)
	result.percentiles = percentilesOf(samples)
	return result, nil
}

// parseReply says whether a whole reply with Content-Length is there, and whether it is a 200.
func parseReply(reply []byte) (complete bool, ok bool, err error) {
	end := bytes.Index(reply, []byte("\r\n\r\n"))
	if end < 0 {
		return false, false, nil
	}
	length := -1
	for _, line := range bytes.Split(reply[:end], []byte("\r\n")) {
		if len(line) > 15 && bytes.EqualFold(line[:15], []byte("content-length:")) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:])))
		}
	}
	if err != nil || length < 0 {
		return false, false, fmt.Errorf("a reply without Content-Length: %q", reply[:end])
	}
	return len(reply) >= end+4+length, bytes.HasPrefix(reply, []byte("HTTP/1.1 200 ")), nil
}
