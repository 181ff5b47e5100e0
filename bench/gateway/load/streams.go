package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"time"
)

const chunkSize = 256 << 10

type streamResult struct {
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes"`
}

func streamFlags(name string, args []string) (address, path, token string, size int64) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	flags.StringVar(&address, "address", "", "IPv4 address and port")
	flags.StringVar(&path, "path", "/", "")
	flags.StringVar(&token, "token", "", "")
	flags.Int64Var(&size, "size", 1<<30, "bytes")
	flags.Parse(args)
	return
}

// down times one large reply from the request to its last byte.
func down(args []string) (interface{}, error) {
	address, path, token, size := streamFlags("down", args)
	connection, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(2 * time.Minute))
	start := time.Now()
	fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, address, token)
	reader := bufio.NewReaderSize(connection, chunkSize)
	got, body, err := readHead(reader)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		return nil, fmt.Errorf("refused: %q", got)
	}
	received, err := discard(body, make([]byte, chunkSize))
	if err != nil {
		return nil, err
	}
	if received != size {
		return nil, fmt.Errorf("%d bytes instead of %d", received, size)
	}
	return streamResult{time.Since(start).Seconds(), received}, nil
}

// up times one large body from the request to the reply, which must say that all of it arrived.
func up(args []string) (interface{}, error) {
	address, path, token, size := streamFlags("up", args)
	connection, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(2 * time.Minute))
	start := time.Now()
	fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", path, address, token, size)
	writeError := make(chan error, 1)
	go func() {
		chunk := make([]byte, chunkSize)
		for left := size; left > 0; left -= int64(len(chunk)) {
			if left < int64(len(chunk)) {
				chunk = chunk[:left]
			}
			if _, err := connection.Write(chunk); err != nil {
				writeError <- err
				return
			}
		}
		writeError <- nil
	}()
	reader := bufio.NewReader(connection)
	got, body, err := readHead(reader)
	if err != nil {
		return nil, err
	}
	reply, err := io.ReadAll(io.LimitReader(body, 4096))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || string(reply) != receivedReply(size) {
		return nil, fmt.Errorf("refused: %q %q", got, reply)
	}
	if err := <-writeError; err != nil {
		return nil, err
	}
	return streamResult{time.Since(start).Seconds(), size}, nil
}

func receivedReply(size int64) string { return fmt.Sprintf(`{"received":%d}`, size) }

// sink is an upstream that answers a body, once all of it has come, with how long it was, and a GET with a large reply.
// It always says that it is well to who asks.
func sink(args []string) error {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	size := flags.Int64("size", 1<<30, "bytes of a reply to GET")
	flags.Parse(args)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			if err := serveSink(connection, *size); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func serveSink(connection net.Conn, size int64) error {
	reader := bufio.NewReaderSize(connection, 16<<10)
	chunk := make([]byte, 64<<10)
	for {
		first, body, err := readHead(reader)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(first, "GET /api/"):
			err = writeLarge(connection, size)
		case strings.HasPrefix(first, "POST /api/"):
			var received int64
			if received, err = discard(body, chunk); err != nil {
				return err
			}
			err = writeSmall(connection, "200 OK", receivedReply(received))
		case strings.HasPrefix(first, "GET /readyz "), strings.HasPrefix(first, "GET /healthz "):
			err = writeSmall(connection, "200 OK", "{}")
		default:
			err = writeSmall(connection, "404 Not Found", "{}")
		}
		if err != nil {
			return err
		}
	}
}

func writeSmall(connection net.Conn, status, reply string) error {
	_, err := fmt.Fprintf(connection,
		"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(reply), reply)
	return err
}

var zeros = make([]byte, chunkSize)

func writeLarge(connection net.Conn, size int64) error {
	_, err := fmt.Fprintf(connection,
		"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", size)
	for left := size; left > 0 && err == nil; left -= chunkSize {
		chunk := zeros
		if left < chunkSize {
			chunk = zeros[:left]
		}
		_, err = connection.Write(chunk)
	}
	return err
}

// readHead returns the first line of a message and its body, which is empty where no header says otherwise.
func readHead(reader *bufio.Reader) (first string, body io.Reader, err error) {
	var length int64
	chunked := false
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return "", nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first == "":
			first = string(line)
		case len(line) == 0:
			if chunked {
				return first, chunkedBody{httputil.NewChunkedReader(reader), reader}, nil
			}
			return first, io.LimitReader(reader, length), nil
		case hasPrefixFold(line, "content-length:"):
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[15:])), 10, 64); err != nil {
				return "", nil, err
			}
		case hasPrefixFold(line, "transfer-encoding:"):
			chunked = true
		}
	}
}

// chunkedBody also reads the empty line behind the last chunk.
type chunkedBody struct {
	chunks io.Reader
	reader *bufio.Reader
}

func (body chunkedBody) Read(into []byte) (int, error) {
	count, err := body.chunks.Read(into)
	if err == io.EOF {
		if _, err := body.reader.ReadSlice('\n'); err != nil {
			return count, err
		}
	}
	return count, err
}

func hasPrefixFold(line []byte, prefix string) bool {
	return len(line) >= len(prefix) && bytes.EqualFold(line[:len(prefix)], []byte(prefix))
}

func discard(body io.Reader, chunk []byte) (int64, error) {
	var received int64
	for {
		count, err := body.Read(chunk)
		received += int64(count)
		if err == io.EOF {
			return received, nil
		}
		if err != nil {
			return received, err
		}
	}
}
