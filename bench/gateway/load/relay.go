package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

type relayResult struct {
	percentiles
	// Also before and after the time that counts.
	Deliveries int     `json:"deliveries"`
	PerSecond  float64 `json:"perSecond"`
	// Messages that did not reach everybody within two seconds of the end.
	Incomplete int `json:"incomplete"`
}

const (
	payloadSize = 200 // a short chat message with its envelope
	digits      = 19  // each of the payload's two numbers: which message, and when it was due
)

type member struct {
	fd   int
	room int
	// Bytes of a frame whose rest has not come.
	partial []byte
}

type room struct {
	members []*member
	next    int // whose turn it is to send
	// Messages under way: who of the room has still to get it.
	missing map[int64]int
}

// relay joins sockets to rooms and sends messages that the upstream gives to everybody in the room. Without -rate
// every room keeps -window messages under way, which shows the most that is delivered; with -rate messages a second
// are sent whether or not earlier ones have arrived, and the latency counts from the moment each was due.
func relay(args []string) (interface{}, error) {
	flags := flag.NewFlagSet("relay", flag.ExitOnError)
	address := flags.String("address", "", "IPv4 address and port")
	path := flags.String("path", "/", "the room is added as a query parameter")
	roomCount := flags.Int("rooms", 2, "")
	size := flags.Int("sockets", 200, "in each room")
	window := flags.Int("window", 1, "messages under way in a room; with more, frames travel in batches")
	perSecond := flags.Float64("rate", 0, "messages a second in all rooms together")
	seconds := flags.Float64("seconds", 3, "that count")
	warmup := flags.Float64("warmup", 1, "seconds before, that do not")
	flags.Parse(args)
	runtime.LockOSThread()

	poller, err := newPoller()
	if err != nil {
		return nil, err
	}
	rooms := make([]*room, *roomCount)
	members := map[int]*member{}
	for index := range rooms {
		rooms[index] = &room{missing: map[int64]int{}}
		for count := 0; count < *size; count++ {
			fd, err := joinRoom(*address, fmt.Sprintf("%s&room=%d", *path, index))
			if err != nil {
				return nil, fmt.Errorf("socket %d: %w", len(members), err)
			}
			joined := &member{fd: fd, room: index}
			members[fd] = joined
			rooms[index].members = append(rooms[index].members, joined)
			if err := poller.add(fd); err != nil {
				return nil, err
			}
		}
	}

	start := now()
	measureFrom := start + int64(*warmup*1e9)
	end := measureFrom + int64(*seconds*1e9)
	samples := make([]int64, 0, 4<<20)
	result := relayResult{}
	inTime := 0
	var number int64
	frame := make([]byte, 0, payloadSize+16)
	padding := bytes.Repeat([]byte("."), payloadSize-2*digits)

	send := func(to *room, due int64) error {
		number++
		to.missing[number] = len(to.members)
		sender := to.members[to.next%len(to.members)]
		to.next++
		payload := append([]byte(fmt.Sprintf("%0*d%0*d", digits, number, digits, due)), padding...)
		frame = appendMasked(frame[:0], opText, payload)
		return writeAll(sender.fd, frame)
	}

	deliver := func(to *member, payload []byte) error {
		if len(payload) != payloadSize {
			return fmt.Errorf("a message of %d bytes: %q", len(payload), payload)
		}
		at := now()
		which, _ := strconv.ParseInt(string(payload[:digits]), 10, 64)
		due, _ := strconv.ParseInt(string(payload[digits:2*digits]), 10, 64)
		if due >= measureFrom && due < end {
			samples = append(samples, at-due)
		}
		result.Deliveries++
		if at >= measureFrom && at < end {
			inTime++
		}
		in := rooms[to.room]
		left, known := in.missing[which]
		if !known {
			return fmt.Errorf("message %d came once too often, or to the wrong room", which)
		}
		if left > 1 {
			in.missing[which] = left - 1
			return nil
		}
		delete(in.missing, which)
		if *perSecond == 0 && at < end {
			return send(in, at)
		}
		return nil
	}

	buffer := make([]byte, 256<<10)
	onReadable := func(fd int) error {
		from := members[fd]
		kept := copy(buffer, from.partial)
		count, err := syscall.Read(fd, buffer[kept:])
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return nil
		}
		if err != nil || count == 0 {
			return fmt.Errorf("the peer closed a socket: %v", err)
		}
		rest, err := eachFrame(buffer[:kept+count], func(opcode byte, payload []byte) error {
			switch opcode {
			case opText:
				return deliver(from, payload)
			case opPing:
				return writeAll(fd, appendMasked(nil, opPong, payload))
			case opPong:
				return nil
			}
			return fmt.Errorf("an unexpected frame, opcode %d: %q", opcode, payload)
		})
		from.partial = append(from.partial[:0], rest...)
		return err
	}

	if *perSecond == 0 {
		for _, each := range rooms {
			for count := 0; count < *window; count++ {
				if err := send(each, now()); err != nil {
					return nil, err
				}
			}
		}
	} else if err := poller.tick(time.Duration(1e9 / *perSecond)); err != nil {
		return nil, err
	}
	sent := 0
	due := start
	for now() < end {
		ticks, err := poller.wait(onReadable)
		if err != nil {
			return nil, err
		}
		for ; ticks > 0; ticks-- {
			due += int64(1e9 / *perSecond)
			sent++
			if err := send(rooms[sent%len(rooms)], due); err != nil {
				return nil, err
			}
		}
	}
	left := func() (count int) {
		for _, each := range rooms {
			count += len(each.missing)
		}
		return count
	}
	for left() > 0 && now() < end+2e9 {
		if _, err := poller.wait(onReadable); err != nil {
			return nil, err
		}
	}
	result.Incomplete = left()
	result.PerSecond = float64(inTime) / *seconds
	result.percentiles = percentilesOf(samples)
	return result, nil
}

// The parts of RFC 6455 that a client of this upstream needs: no fragments, no extensions.

const (
	opText = 1
	opPing = 9
	opPong = 10
)

// joinRoom opens a WebSocket and waits for the upstream's word that it is in its room. The socket does not block then.
func joinRoom(address, path string) (int, error) {
	fd, err := dial(address)
	if err != nil {
		return 0, err
	}
	syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 5})
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, address)
	if err := writeAll(fd, []byte(request)); err != nil {
		return 0, err
	}
	welcome := append([]byte{0x80 | opText, 6}, "joined"...)
	var reply []byte
	chunk := make([]byte, 4096)
	for {
		count, err := syscall.Read(fd, chunk)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || count == 0 {
			return 0, fmt.Errorf("it did not join: %v %q", err, reply)
		}
		reply = append(reply, chunk[:count]...)
		end := bytes.Index(reply, []byte("\r\n\r\n"))
		if end >= 0 && !bytes.HasPrefix(reply, []byte("HTTP/1.1 101 ")) {
			return 0, fmt.Errorf("refused: %q", reply)
		}
		if end >= 0 && len(reply) >= end+4+len(welcome) {
			if !bytes.Equal(reply[end+4:], welcome) {
				return 0, fmt.Errorf("no welcome: %q", reply)
			}
			return fd, syscall.SetNonblock(fd, true)
		}
	}
}

func appendMasked(frame []byte, opcode byte, payload []byte) []byte {
	const masked = 0x80
	frame = append(frame, 0x80|opcode)
	if len(payload) < 126 {
		frame = append(frame, masked|byte(len(payload)))
	} else {
		frame = append(frame, masked|126, byte(len(payload)>>8), byte(len(payload)))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	frame = append(frame, mask[:]...)
	for index, value := range payload {
		frame = append(frame, value^mask[index%4])
	}
	return frame
}

// eachFrame calls for every whole frame of a server and returns the bytes of one that is not whole yet.
func eachFrame(data []byte, handle func(opcode byte, payload []byte) error) ([]byte, error) {
	for len(data) >= 2 {
		length, header := int(data[1]), 2
		if length >= 127 {
			return nil, fmt.Errorf("a masked or huge frame from a server")
		}
		if length == 126 {
			if len(data) < 4 {
				break
			}
			length, header = int(binary.BigEndian.Uint16(data[2:])), 4
		}
		if len(data) < header+length {
			break
		}
		if err := handle(data[0]&0x0f, data[header:header+length]); err != nil {
			return nil, err
		}
		data = data[header+length:]
	}
	return data, nil
}
