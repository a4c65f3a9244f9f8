package outbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/upstream"
)

// serveStreams answers streams of the phone for the caller and session in the query,
// by a server with timeouts that are too short for any.
func serveStreams(t *testing.T, o *Outbox) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ends, _ := strconv.ParseInt(r.URL.Query().Get("ends"), 10, 64)
		err := o.Stream(w, r, phone, as(r.URL.Query().Get("as")), ends)
		if refusal, ok := errors.AsType[*upstream.Refusal](err); ok {
			http.Error(w, refusal.Code, refusal.Status)
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	s.Config.ReadTimeout, s.Config.WriteTimeout = 20*time.Millisecond, 20*time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// A reader reads one stream.
type reader struct {
	t     *testing.T
	body  *bufio.Reader
	close func()
}

// follow opens a stream of the phone. Fields of the header come in pairs.
func follow(t *testing.T, s *httptest.Server, query string, header ...string) *reader {
	t.Helper()
	answer := call(t, s, query, header...)
	if answer.StatusCode != http.StatusOK || answer.Header.Get("content-type") != "text/event-stream" || answer.Header.Get("cache-control") != "no-store" {
		t.Fatalf("status %d, header %v", answer.StatusCode, answer.Header)
	}
	r := &reader{t, bufio.NewReader(answer.Body), func() { _ = answer.Body.Close() }}
	t.Cleanup(r.close)
	if got := r.next(); got != "retry: 2000\n" {
		t.Fatalf("a stream begins with %q", got)
	}
	return r
}

func call(t *testing.T, s *httptest.Server, query string, header ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, s.URL+"/?"+query, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	answer, err := s.Client().Do(request)
	must(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// next returns the lines up to the next empty one, "" at the end.
func (r *reader) next() string {
	var lines strings.Builder
	for {
		line, err := r.body.ReadString('\n')
		if err != nil || line == "\n" {
			return lines.String()
		}
		lines.WriteString(line)
	}
}

// event returns the next event, and checks its form.
func (r *reader) event() Envelope {
	r.t.Helper()
	text := r.next()
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[1] != "event: message" {
		r.t.Fatalf("not an event: %q", text)
	}
	var e Envelope
	must(r.t, json.Unmarshal([]byte(strings.TrimPrefix(lines[2], "data: ")), &e))
	if lines[0] != fmt.Sprint("id: ", e.Number) {
		r.t.Fatalf("the event of message %d has the %s", e.Number, lines[0])
	}
	return e
}

// wants reads events with these numbers.
func (r *reader) wants(numbers ...uint64) {
	r.t.Helper()
	for _, n := range numbers {
		if e := r.event(); e.Number != n {
			r.t.Fatalf("message %d, want %d", e.Number, n)
		}
	}
}

// over reads the end of the stream.
func (r *reader) over() {
	r.t.Helper()
	if got := r.next(); got != "" {
		r.t.Fatalf("the stream goes on with %q", got)
	}
}

const asPhone = "as=" + phone

func TestStream(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	o := w.run(t)
	s := serveStreams(t, o)
	first := w.send(t, phone)
	w.send(t, phone)
	r := follow(t, s, asPhone)
	if e := r.event(); e.ID != first.ID || e.Number != 1 || e.Kind != "deduction_notice" || e.Payee != "mer_bakery" {
		t.Errorf("got %+v", e)
	}
	r.wants(2)
	time.Sleep(50 * time.Millisecond) // past the server's timeouts
	w.send(t, phone)
	r.wants(3)
	if got := w.delivery(t, phone); got.Acked != 0 {
		t.Errorf("a stream acknowledged message %d", got.Acked)
	}
	if s := o.Stats(); s.Streams != 1 {
		t.Errorf("stats %+v", s)
	}
	r.close()
	eventually(t, "no stream is open", func() bool { return o.Stats().Streams == 0 })
}

// A stream where nothing happens shows that it lives.
func TestPing(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	r := follow(t, serveStreams(t, w.run(t)), asPhone)
	for range 3 {
		eventually(t, "a ping waits", func() bool { return w.clock.waits(DefaultPing) })
		w.clock.advance(DefaultPing)
		if got := r.next(); got != ": ping\n" {
			t.Fatalf("got %q", got)
		}
	}
	w.send(t, phone)
	r.wants(1)
}

// Who comes again gets what is neither acknowledged nor seen nor expired.
func TestResume(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	s := serveStreams(t, w.run(t))
	for n := range 6 {
		w.send(t, phone, func(m *authzstore.Message) {
			if n == 4 {
				m.ExpiresAtNanos = noon.Add(time.Minute).UnixNano()
			}
		})
	}
	from := func(last string, numbers ...uint64) {
		t.Helper()
		r := follow(t, s, asPhone, "last-event-id", last)
		r.wants(numbers...)
		r.close()
	}
	from("", 1, 2, 3, 4, 5, 6)
	from("0", 1, 2, 3, 4, 5, 6)
	from("3", 4, 5, 6)
	from("7", 1, 2, 3, 4, 5, 6)                    // of nothing that was sent
	from("18446744073709551615", 1, 2, 3, 4, 5, 6) // the same
	must(t, w.update(authzstore.AckRefs(phone), func(tx *authzstore.Tx) error { return tx.AckMessages(phone, 2) }))
	from("", 3, 4, 5, 6)
	from("1", 3, 4, 5, 6)
	from("3", 4, 5, 6)
	w.clock.advance(time.Minute) // exactly at its expiry
	from("4", 5, 6)
	w.clock.advance(1)
	from("4", 6)
	w.clock.advance(2 * time.Hour)
	r := follow(t, s, asPhone)
	w.send(t, phone)
	r.wants(7)
	eventually(t, "what nobody took is given up", func() bool { return w.delivery(t, phone).Acked == 6 })
	if dead := w.delivery(t, phone).Dead; len(dead) != 4 || dead[0].Num != 3 || dead[3].Why != string(Expired) {
		t.Errorf("dead letters %+v", dead)
	}
}

// Who is not, or no longer, the terminal sees nothing.
func TestStreamRefused(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	o := w.run(t)
	s := serveStreams(t, o)
	refused := func(status int, code, query string, header ...string) {
		t.Helper()
		answer := call(t, s, query, header...)
		body, _ := bufio.NewReader(answer.Body).ReadString('\n')
		if answer.StatusCode != status || strings.TrimSpace(body) != code {
			t.Errorf("%s: %d %s, want %d %s", query, answer.StatusCode, body, status, code)
		}
	}
	refused(http.StatusForbidden, "terminal_not_bound", "as=trm_other")
	at := noon.UnixNano()
	refused(http.StatusUnauthorized, "session_expired", fmt.Sprint(asPhone, "&ends=", at-1))
	follow(t, s, fmt.Sprint(asPhone, "&ends=", at)).close() // exactly at its end
	for _, id := range []string{"x", "-1", "1.0", "18446744073709551616"} {
		refused(http.StatusBadRequest, "last_event_id_invalid", asPhone, "last-event-id", id)
	}
	refused(http.StatusBadRequest, "last_event_id_invalid", asPhone, "last-event-id", "1", "last-event-id", "2")
	for _, state := range []authzstore.TerminalState{authzstore.TerminalFrozen, authzstore.TerminalUnbound} {
		w.put(t, authzstore.Terminal{ID: phone, State: state})
		refused(http.StatusForbidden, "terminal_not_bound", asPhone)
	}
	w.put(t, authzstore.Terminal{ID: phone})
	o.streams.mu.Lock()
	for i := range maxStreams {
		o.streams.open[fmt.Sprint(i)] = &subscription{make(chan struct{}, 1), make(chan struct{})}
	}
	o.streams.mu.Unlock()
	refused(http.StatusServiceUnavailable, "streams_full", asPhone)
	w.stop()
	refused(http.StatusServiceUnavailable, "shutting_down", asPhone)
}

func TestStreamWithoutClock(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	o := w.run(t, func(cfg *Config) { cfg.Now = func() (time.Time, error) { return time.Time{}, errors.New("jumped") } })
	answer := call(t, serveStreams(t, o), asPhone)
	if body, _ := bufio.NewReader(answer.Body).ReadString('\n'); answer.StatusCode != http.StatusServiceUnavailable || body != "clock_jumped\n" {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

// A stream ends when what it was allowed by ends: before the next event, not after it.
func TestStreamEnds(t *testing.T) {
	second := noon.Add(time.Second).UnixNano()
	for name, end := range map[string]func(*testing.T, *world){
		"the session": func(_ *testing.T, w *world) { w.clock.advance(time.Second + 1) },
		"the binding": func(t *testing.T, w *world) {
			w.put(t, authzstore.Terminal{ID: phone, State: authzstore.TerminalUnbound})
		},
		"freezing": func(t *testing.T, w *world) {
			w.put(t, authzstore.Terminal{ID: phone, State: authzstore.TerminalFrozen})
		},
		"the server": func(_ *testing.T, w *world) { w.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put(t, authzstore.Terminal{ID: phone})
			r := follow(t, serveStreams(t, w.run(t)), fmt.Sprint(asPhone, "&ends=", second))
			w.send(t, phone)
			r.wants(1)
			m, err := w.message(phone)
			must(t, err)
			end(t, w)
			must(t, w.sendMessage(m))
			r.over()
		})
	}
}

// The session's end is seen without a message too.
func TestStreamEndsByItself(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	r := follow(t, serveStreams(t, w.run(t)), fmt.Sprint(asPhone, "&ends=", noon.Add(time.Second).UnixNano()))
	eventually(t, "a ping waits", func() bool { return w.clock.waits(DefaultPing) })
	w.clock.advance(DefaultPing)
	if got := r.next(); got != ": ping\n" {
		t.Fatalf("got %q", got)
	}
	r.over()
}

// A terminal has one stream: the newest.
func TestNewStreamEndsOldOne(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	o := w.run(t)
	s := serveStreams(t, o)
	old := follow(t, s, asPhone)
	if answer := call(t, s, "as=trm_other"); answer.StatusCode != http.StatusForbidden {
		t.Fatal(answer.Status)
	}
	w.send(t, phone)
	old.wants(1) // who was refused ended nobody's
	newer := follow(t, s, asPhone)
	old.over()
	w.send(t, phone)
	newer.wants(1, 2)
	if n := o.Stats().Streams; n != 1 {
		t.Errorf("%d streams", n)
	}
}

// A reader that takes nothing is cut off.
func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	var mu sync.Mutex
	passed := false // whether deadlines are in the past
	o := w.run(t, func(cfg *Config) {
		cfg.Deadline = func(d time.Duration) time.Time {
			mu.Lock()
			defer mu.Unlock()
			if passed {
				return time.Unix(1, 0)
			}
			return time.Now().Add(d)
		}
	})
	s := serveStreams(t, o)
	connection, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	must(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	_, err = fmt.Fprintf(connection, "GET /?%s HTTP/1.1\r\nHost: x\r\n\r\n", asPhone)
	must(t, err)
	eventually(t, "a stream is open", func() bool { return o.Stats().Streams == 1 })
	mu.Lock()
	passed = true
	mu.Unlock()
	w.send(t, phone)
	eventually(t, "no stream is open", func() bool { return o.Stats().Streams == 0 })
	if n := o.Stats().Streamed; n != 0 {
		t.Errorf("%d events were written to somebody who took nothing", n)
	}
}
