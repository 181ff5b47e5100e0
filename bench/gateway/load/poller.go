package main

import (
	"fmt"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// poller is one thread's event loop over raw sockets and a periodic timer: no goroutine switches in the measurement.
type poller struct {
	epoll  int
	timer  int
	events [512]syscall.EpollEvent
}

func newPoller() (*poller, error) {
	epoll, err := syscall.EpollCreate1(0)
	return &poller{epoll: epoll, timer: -1}, err
}

func (p *poller) add(fd int) error {
	return syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// tick makes wait report every period that has passed. timerfd(2): finer than epoll's own milliseconds.
func (p *poller) tick(period time.Duration) error {
	const monotonic = 1
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return errno
	}
	p.timer = int(fd)
	interval := syscall.NsecToTimespec(int64(period))
	setting := [2]syscall.Timespec{interval, interval}
	_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return p.add(p.timer)
}

// wait blocks until something can be read, and calls onReadable for each socket. Returns how many ticks have passed.
func (p *poller) wait(onReadable func(fd int) error) (ticks uint64, err error) {
	count, err := syscall.EpollWait(p.epoll, p.events[:], 100)
	if err == syscall.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, event := range p.events[:count] {
		if int(event.Fd) == p.timer {
			var passed [8]byte
			if _, err := syscall.Read(p.timer, passed[:]); err == nil {
				ticks += *(*uint64)(unsafe.Pointer(&passed))
			}
			continue
		}
		if err := onReadable(int(event.Fd)); err != nil {
			return ticks, err
		}
	}
	return ticks, nil
}

// dial connects to an IPv4 address and port. The socket blocks until the caller says otherwise.
func dial(address string) (int, error) {
	resolved, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return 0, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	target := syscall.SockaddrInet4{Port: resolved.Port}
	copy(target.Addr[:], resolved.IP.To4())
	if err := syscall.Connect(fd, &target); err != nil {
		return 0, fmt.Errorf("connect %s: %w", address, err)
	}
	return fd, syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
}

// writeAll writes a message that fits a socket's buffer.
func writeAll(fd int, bytes []byte) error {
	for len(bytes) > 0 {
		count, err := syscall.Write(fd, bytes)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		if err != nil {
			return err
		}
		bytes = bytes[count:]
	}
	return nil
}

var epoch = time.Now()

// now is nanoseconds on the monotonic clock.
func now() int64 { return int64(time.Since(epoch)) }
