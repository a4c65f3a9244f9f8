package outbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of one try.
const (
	dialTimeout    = 5 * time.Second
	tryTimeout     = 15 * time.Second
	maxAnswerBytes = 4 << 10 // of a body, read so that the connection can be used again
	maxHeaderBytes = 16 << 10
	idleTimeout    = 90 * time.Second
)

// A failure is why a try failed, as a code for logs and dead letters.
type failure string

const (
	badURL         failure = "webhook_invalid"  // no https:// URL
	noReceiver     failure = "receiver_unknown" // its host is none that webhooks may go to
	addressRefused failure = "address_refused"  // its name leads to where no webhook goes
	timedOut       failure = "timeout"
	badCertificate failure = "certificate_refused"
	unreachable    failure = "unreachable"
	redirected     failure = "redirect_refused"
)

// A webhook sends messages to receivers.
type webhook struct {
	receivers map[string]Receiver // by address
	client    *http.Client
}

// newWebhook returns a webhook to the receivers, whose certificates are those of the
// system or of roots.
func newWebhook(list []Receiver, roots *x509.CertPool) (*webhook, error) {
	all, err := receivers(list)
	if err != nil {
		return nil, err
	}
	h := &webhook{receivers: all}
	h.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy of the environment would look up names for us, and undo the guard
			DialContext:            h.dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  tryTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConnsPerHost:    perReceiver,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       tryTimeout,
	}
	return h, nil
}

// dial connects to a receiver, if its name leads to where it may be.
func (h *webhook) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r, known := h.receivers[strings.ToLower(address)]
	if !known {
		return nil, errAddress
	}
	dialler := net.Dialer{Timeout: dialTimeout, Control: guard(r.Loopback)}
	return dialler.DialContext(ctx, network, address)
}

// addressOfWebhook is the receiver's address that a terminal's webhook leads to.
func addressOfWebhook(text string) (string, failure) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return "", badURL
	}
	return addressOf(u), ""
}

// send tries once to give a message to the receiver of a terminal's webhook. An empty
// failure says that it was taken.
func (h *webhook) send(ctx context.Context, to, id string, at time.Time, body []byte) failure {
	address, failed := addressOfWebhook(to)
	if failed != "" {
		return failed
	}
	r, known := h.receivers[address]
	if !known {
		return noReceiver
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return badURL
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("user-agent", "countersign")
	if err := sign(request.Header, r.Secrets, id, at, body); err != nil {
		return badURL
	}
	answer, err := h.client.Do(request)
	if err != nil {
		return failureOf(err)
	}
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswerBytes) // what it says does not matter
	_ = answer.Body.Close()
	switch {
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return ""
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return redirected
	}
	return failure(fmt.Sprintf("status_%d", answer.StatusCode))
}

func failureOf(err error) failure {
	var timeout net.Error
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, errAddress):
		return addressRefused
	case untrusted:
		return badCertificate
	case errors.As(err, &timeout) && timeout.Timeout():
		return timedOut
	}
	return unreachable
}
