package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/outbox"
)

// A mailroom stands for everybody's devices: over one connection it gets, from the
// server, what delegates' devices make payment codes of, and then all messages to
// terminals, as the message log has them. Nothing of it is written to a disk.
type mailroom struct {
	listener net.Listener
	ended    chan struct{} // closed when the server has closed the connection
	ready    chan struct{} // closed when the devices are there

	devices []evidence.Parameters // in the order of the grants

	mu    sync.Mutex
	codes map[mailbox]chan string
}

// A mailbox is where one code goes to.
type mailbox struct{ challenge, terminal string }

// devicesEnd is the line after the devices' parameters.
const devicesEnd = "end of the devices"

// openMailroom listens on a socket, before the server starts.
func openMailroom(socket string) (*mailroom, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	m := &mailroom{listener: listener, ended: make(chan struct{}), ready: make(chan struct{}), codes: map[mailbox]chan string{}}
	go func() {
		defer close(m.ended)
		conn, err := listener.Accept()
		if err != nil {
			return // closed: there was no server
		}
		_ = m.read(conn) // what is missing will be missed
		_ = conn.Close()
	}()
	return m, nil
}

func (m *mailroom) close() error {
	err := m.listener.Close()
	<-m.ended
	return err
}

// await returns when the devices are there.
func (m *mailroom) await() error {
	select {
	case <-m.ready:
		return nil
	case <-m.ended:
		return errors.New("the server has not sent what the devices need")
	}
}

func (m *mailroom) read(conn io.Reader) error {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && lines.Text() != devicesEnd {
		p, err := evidence.ParseParameters(lines.Text())
		if err != nil {
			return err
		}
		m.devices = append(m.devices, p)
	}
	close(m.ready)
	for lines.Scan() {
		var e outbox.Envelope
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return err
		}
		if e.Code != "" {
			m.box(mailbox{e.Challenge, e.Terminal}) <- e.Code
		}
	}
	return lines.Err()
}

// sendDevices is the server's side of it.
func sendDevices(conn io.Writer, devices []evidence.Parameters) error {
	var text strings.Builder
	for _, p := range devices {
		text.WriteString(p.URI() + "\n")
	}
	text.WriteString(devicesEnd + "\n")
	_, err := io.WriteString(conn, text.String())
	return err
}

// box returns a mailbox, which holds one code.
func (m *mailroom) box(at mailbox) chan string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.codes[at] == nil {
		m.codes[at] = make(chan string, 1)
	}
	return m.codes[at]
}

// code waits for the code of a challenge that went to a terminal. It is there once.
func (m *mailroom) code(ctx context.Context, challenge, terminal string) (string, error) {
	at := mailbox{challenge, terminal}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	select {
	case code := <-m.box(at):
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.codes, at)
		return code, nil
	case <-m.ended:
		return "", errors.New("the message log has ended")
	case <-ctx.Done():
		return "", fmt.Errorf("the message log has no code of %s for %s: %w", challenge, terminal, context.Cause(ctx))
	}
}
